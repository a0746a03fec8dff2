(function_definition name: (word) @name) @definition.function

; ---- uses and imports: read by facts() alone, not by whoever edits ----
(command_name (word) @reference)
(variable_name) @reference
((command name: (command_name (word) @_source) . argument: (_) @import) (#any-of? @_source "source" "."))
