(function_declaration name: (identifier) @name) @definition.function

; The receiver says whose method it is.
(method_declaration receiver: (parameter_list (parameter_declaration type: (type_identifier) @owner)) name: (field_identifier) @name) @definition.method
(method_declaration receiver: (parameter_list (parameter_declaration type: (pointer_type (type_identifier) @owner))) name: (field_identifier) @name) @definition.method
(method_declaration receiver: (parameter_list (parameter_declaration type: (generic_type type: (type_identifier) @owner))) name: (field_identifier) @name) @definition.method
(method_declaration receiver: (parameter_list (parameter_declaration type: (pointer_type (generic_type type: (type_identifier) @owner)))) name: (field_identifier) @name) @definition.method

; One type in a declaration of its own, with the word `type`; else one of a group, without it.
(type_spec name: (type_identifier) @name) @definition.class
(type_alias name: (type_identifier) @name) @definition.type
(type_declaration . (type_spec name: (type_identifier) @name) .) @definition.class
(type_declaration . (type_alias name: (type_identifier) @name) .) @definition.type

; ---- imports and more: read by facts() alone, not by whoever edits ----
(source_file (const_declaration (const_spec name: (identifier) @name) @definition.constant))
(source_file (var_declaration (var_spec name: (identifier) @name) @definition.constant))
(source_file (var_declaration (var_spec_list (var_spec name: (identifier) @name) @definition.constant)))
(import_spec path: (_) @import)
; ---- names, each by its node ----
[(identifier) (type_identifier) (field_identifier) (package_identifier)] @reference
