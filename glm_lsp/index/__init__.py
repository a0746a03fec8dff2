"""What is in the workspace.

Never asks the engine and never changes a file.
"""
