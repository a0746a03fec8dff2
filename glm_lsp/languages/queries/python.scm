; A decorated definition matches twice; the wider match, with its decorators, is the one that is kept.
(function_definition name: (identifier) @name) @definition.function
(class_definition name: (identifier) @name) @definition.class
(decorated_definition definition: (function_definition name: (identifier) @name)) @definition.function
(decorated_definition definition: (class_definition name: (identifier) @name)) @definition.class

; ---- imports and more: read by facts() alone, not by whoever edits ----
(module (expression_statement (assignment left: (identifier) @name) @definition.constant))
(import_statement name: (dotted_name) @import)
(import_statement name: (aliased_import name: (dotted_name) @import))
(import_from_statement module_name: (_) @import)
; ---- names, each by its node ----
(identifier) @reference
; ---- names as words: what of the text is none; all other words that no keyword is are names ----
[(string) (comment) (true) (false) (none)] @opaque
[(interpolation) (format_expression)] @clear
(type_conversion) @opaque
(format_specifier) @opaque
; These are names in other places.
["match" "case" "type" "print" "exec" "_" "async" "await"] @opaque
