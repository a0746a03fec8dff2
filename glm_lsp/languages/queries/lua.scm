(function_declaration name: (_) @name) @definition.function
(variable_declaration (assignment_statement (variable_list . name: (_) @name .) (expression_list . value: (function_definition) .))) @definition.function
(assignment_statement (variable_list . name: (_) @name .) (expression_list . value: (function_definition) .)) @definition.function

; ---- imports and more: read by facts() alone, not by whoever edits ----
((function_call name: (identifier) @_require arguments: (arguments (string content: (string_content) @import))) (#any-of? @_require "require" "dofile" "loadfile"))
; ---- names, each by its node ----
(identifier) @reference
