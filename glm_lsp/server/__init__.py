"""The door: the only place that speaks the language server protocol.

Never decides anything about code: it carries requests to the workspace and events back.
"""
