(function_declaration name: (_) @name) @definition.function
(variable_declaration (assignment_statement (variable_list . name: (_) @name .) (expression_list . value: (function_definition) .))) @definition.function
(assignment_statement (variable_list . name: (_) @name .) (expression_list . value: (function_definition) .)) @definition.function

; ---- uses and imports: read by facts() alone, not by whoever edits ----
(identifier) @reference
((function_call name: (identifier) @_require arguments: (arguments (string content: (string_content) @import))) (#any-of? @_require "require" "dofile" "loadfile"))
