; The name sits inside as many pointers or references as the result has.
(function_definition declarator: (function_declarator declarator: (_) @name)) @definition.function
(function_definition declarator: (pointer_declarator declarator: (function_declarator declarator: (_) @name))) @definition.function
(function_definition declarator: (pointer_declarator declarator: (pointer_declarator declarator: (function_declarator declarator: (_) @name)))) @definition.function
(function_definition declarator: (reference_declarator (function_declarator declarator: (_) @name))) @definition.function
(class_specifier name: (_) @name body: (_)) @definition.class
(struct_specifier name: (_) @name body: (_)) @definition.class
(union_specifier name: (_) @name body: (_)) @definition.class
(enum_specifier name: (_) @name body: (_)) @definition.enum
(type_definition declarator: (type_identifier) @name) @definition.type
(alias_declaration name: (type_identifier) @name) @definition.type
(concept_definition name: (identifier) @name) @definition.type
(namespace_definition name: (_) @name) @definition.module

; A template belongs to what it is a template of.
(template_declaration (function_definition declarator: (function_declarator declarator: (_) @name))) @definition.function
(template_declaration (function_definition declarator: (pointer_declarator declarator: (function_declarator declarator: (_) @name)))) @definition.function
(template_declaration (function_definition declarator: (reference_declarator (function_declarator declarator: (_) @name)))) @definition.function
(template_declaration (class_specifier name: (_) @name body: (_))) @definition.class
(template_declaration (struct_specifier name: (_) @name body: (_))) @definition.class

; ---- imports and more: read by facts() alone, not by whoever edits ----
(preproc_def name: (identifier) @name) @definition.constant
(preproc_function_def name: (identifier) @name) @definition.constant
(preproc_include path: (_) @import)
(using_declaration (_) @import)
; ---- names, each by its node ----
[(identifier) (type_identifier) (field_identifier) (namespace_identifier)] @reference
; ---- names as words: what of the text is none; all other words that no keyword is are names ----
[(comment) (string_literal) (char_literal) (system_lib_string) (preproc_arg) (preproc_directive) (statement_identifier)] @opaque
["#define" "#include" "#if" "#ifdef" "#ifndef" "#elif" "#elifdef" "#elifndef" "#else" "#endif"] @opaque
[(primitive_type) (true) (false)] @opaque
[(raw_string_literal) (literal_suffix) (this) (auto)] @opaque
; These are names in other places, and in headers of C.
["offsetof" "defined" "asm" "noreturn" "constexpr" "thread_local" "nullptr" "alignas" "alignof" "_alignof" "_unaligned"] @opaque
["and" "and_eq" "bitand" "bitor" "catch" "class" "co_await" "co_return" "co_yield" "compl" "concept" "consteval" "constinit" "decltype" "delete" "explicit" "final" "friend" "mutable" "namespace" "new" "noexcept" "not" "not_eq" "operator" "or" "or_eq" "override" "private" "protected" "public" "requires" "static_assert" "template" "throw" "try" "typename" "using" "virtual" "xor" "xor_eq"] @opaque
