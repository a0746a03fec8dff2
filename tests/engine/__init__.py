"""A real vLLM that says what a test wants: a tiny GLM-4.7, a logits processor, and a relay in front of it.

Never imported by the product.
"""
