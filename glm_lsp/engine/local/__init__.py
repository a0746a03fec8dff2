"""The engine on this host: vLLM's environment, the try-out model, and the process.

Never asks the model anything beyond one token to see that it answers: that is the client's work.
"""
