; Classes, structures, actors, enums and extensions are one kind of node, told apart by a word in front.
(class_declaration declaration_kind: ["class" "struct" "actor"] name: (type_identifier) @name) @definition.class
(class_declaration declaration_kind: "enum" name: (type_identifier) @name) @definition.enum
(protocol_declaration name: (type_identifier) @name) @definition.interface
(typealias_declaration name: (type_identifier) @name) @definition.type
(function_declaration name: (simple_identifier) @name) @definition.function
(protocol_function_declaration name: (simple_identifier) @name) @definition.function
(init_declaration name: "init" @name) @definition.function
; Only the properties of a file or a type: those of a function are its variables.
(source_file (property_declaration name: (pattern bound_identifier: (simple_identifier) @name)) @definition.property)
(class_body (property_declaration name: (pattern bound_identifier: (simple_identifier) @name)) @definition.property)
(enum_class_body (property_declaration name: (pattern bound_identifier: (simple_identifier) @name)) @definition.property)
(protocol_property_declaration name: (pattern bound_identifier: (simple_identifier) @name)) @definition.property

; An extension owns its functions and is no definition itself.
(class_declaration declaration_kind: "extension" name: (user_type . (type_identifier) @name)) @scope

; ---- imports and more: read by facts() alone, not by whoever edits ----
(import_declaration (identifier) @import)
; ---- names, each by its node ----
[(simple_identifier) (type_identifier)] @reference
