; A decorated definition matches twice; the wider match, with its decorators, is the one that is kept.
(function_definition name: (identifier) @name) @definition.function
(class_definition name: (identifier) @name) @definition.class
(decorated_definition definition: (function_definition name: (identifier) @name)) @definition.function
(decorated_definition definition: (class_definition name: (identifier) @name)) @definition.class

; ---- uses and imports: read by facts() alone, not by whoever edits ----
(module (expression_statement (assignment left: (identifier) @name) @definition.constant))
(identifier) @reference
(import_statement name: (dotted_name) @import)
(import_statement name: (aliased_import name: (dotted_name) @import))
(import_from_statement module_name: (_) @import)
