; The name sits inside as many pointers as the result has.
(function_definition declarator: (function_declarator declarator: (identifier) @name)) @definition.function
(function_definition declarator: (pointer_declarator declarator: (function_declarator declarator: (identifier) @name))) @definition.function
(function_definition declarator: (pointer_declarator declarator: (pointer_declarator declarator: (function_declarator declarator: (identifier) @name)))) @definition.function
(struct_specifier name: (type_identifier) @name body: (_)) @definition.class
(union_specifier name: (type_identifier) @name body: (_)) @definition.class
(enum_specifier name: (type_identifier) @name body: (_)) @definition.enum
(type_definition declarator: (type_identifier) @name) @definition.type

; ---- imports and more: read by facts() alone, not by whoever edits ----
(preproc_def name: (identifier) @name) @definition.constant
(preproc_function_def name: (identifier) @name) @definition.constant
(preproc_include path: (_) @import)
; ---- names, each by its node ----
[(identifier) (type_identifier) (field_identifier)] @reference
; ---- names as words: what of the text is none; all other words that no keyword is are names ----
[(comment) (string_literal) (char_literal) (system_lib_string) (preproc_arg) (preproc_directive) (statement_identifier)] @opaque
["#define" "#include" "#if" "#ifdef" "#ifndef" "#elif" "#elifdef" "#elifndef" "#else" "#endif"] @opaque
[(primitive_type) (true) (false)] @opaque
; These are names in other places.
["offsetof" "defined" "asm" "auto" "noreturn" "constexpr" "thread_local" "nullptr" "alignas" "alignof" "_alignof" "_unaligned"] @opaque
