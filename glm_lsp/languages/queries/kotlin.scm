; Interfaces, enums and classes are one kind of node, told apart by a word in front.
(class_declaration "class" name: (identifier) @name) @definition.class
(class_declaration "interface" name: (identifier) @name) @definition.interface
(object_declaration name: (identifier) @name) @definition.class
(companion_object name: (identifier) @name) @definition.class
(type_alias type: (identifier) @name) @definition.type
(function_declaration name: (identifier) @name) @definition.function
; Only the properties of a file or a class: those of a function are its variables.
(source_file (property_declaration (variable_declaration . (identifier) @name)) @definition.property)
(class_body (property_declaration (variable_declaration . (identifier) @name)) @definition.property)

; ---- imports and more: read by facts() alone, not by whoever edits ----
(import (qualified_identifier) @import)
; ---- names, each by its node ----
(identifier) @reference
