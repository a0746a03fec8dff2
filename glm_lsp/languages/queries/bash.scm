(function_definition name: (word) @name) @definition.function

; ---- imports and more: read by facts() alone, not by whoever edits ----
((command name: (command_name (word) @_source) . argument: (_) @import) (#any-of? @_source "source" "."))
; ---- names, each by its node ----
(command_name (word) @reference)
(variable_name) @reference
