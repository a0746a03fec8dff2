"""The language server through which any editor uses GLM-4.7.

Never imports anything: `import glm_lsp` gives the version and costs nothing.
"""

__version__ = "0.1.0"
