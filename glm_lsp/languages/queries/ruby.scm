(method name: (_) @name) @definition.method
(singleton_method name: (_) @name) @definition.method
(class name: (_) @name) @definition.class
(module name: (_) @name) @definition.module

; ---- imports and more: read by facts() alone, not by whoever edits ----
((call method: (identifier) @_require arguments: (argument_list . (string (string_content) @import) .)) (#any-of? @_require "require" "require_relative" "load" "autoload"))
; ---- names, each by its node ----
[(identifier) (constant) (instance_variable) (class_variable) (global_variable)] @reference
