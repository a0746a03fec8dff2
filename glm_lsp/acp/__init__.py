"""The Agent Client Protocol: the same turns, in the agent panels of Zed, the JetBrains IDEs, Emacs and others.

Never decides anything about code: like the language server, it is a client of the workspace.
"""
