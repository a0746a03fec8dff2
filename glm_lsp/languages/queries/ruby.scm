(method name: (_) @name) @definition.method
(singleton_method name: (_) @name) @definition.method
(class name: (_) @name) @definition.class
(module name: (_) @name) @definition.module

; ---- uses and imports: read by facts() alone, not by whoever edits ----
[(identifier) (constant) (instance_variable) (class_variable) (global_variable)] @reference
((call method: (identifier) @_require arguments: (argument_list . (string (string_content) @import) .)) (#any-of? @_require "require" "require_relative" "load" "autoload"))
