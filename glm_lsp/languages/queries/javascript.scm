; What is exported matches twice; the wider match, with its `export`, is the one that is kept.
(function_declaration name: (identifier) @name) @definition.function
(generator_function_declaration name: (identifier) @name) @definition.function
(class_declaration name: (identifier) @name) @definition.class
(method_definition name: (_) @name) @definition.method
(field_definition property: (_) @name value: [(arrow_function) (function_expression)]) @definition.method

; A function kept in a variable. A declaration that declares nothing else belongs to it whole.
(variable_declarator name: (identifier) @name value: [(arrow_function) (function_expression) (generator_function)]) @definition.function
(variable_declarator name: (identifier) @name value: (class)) @definition.class
(lexical_declaration . (variable_declarator name: (identifier) @name value: [(arrow_function) (function_expression) (generator_function)]) .) @definition.function
(lexical_declaration . (variable_declarator name: (identifier) @name value: (class)) .) @definition.class
(variable_declaration . (variable_declarator name: (identifier) @name value: [(arrow_function) (function_expression) (generator_function)]) .) @definition.function

; `exports.total = function () {}` and `Cart.prototype.total = () => 0`
(expression_statement (assignment_expression left: (member_expression) @name right: [(arrow_function) (function_expression) (generator_function)])) @definition.function

(export_statement declaration: (function_declaration name: (identifier) @name)) @definition.function
(export_statement declaration: (generator_function_declaration name: (identifier) @name)) @definition.function
(export_statement declaration: (class_declaration name: (identifier) @name)) @definition.class
(export_statement declaration: (lexical_declaration . (variable_declarator name: (identifier) @name value: [(arrow_function) (function_expression) (generator_function)]) .)) @definition.function
(export_statement declaration: (lexical_declaration . (variable_declarator name: (identifier) @name value: (class)) .)) @definition.class

; ---- imports and more: read by facts() alone, not by whoever edits ----
(program (lexical_declaration (variable_declarator name: (identifier) @name value: [(string) (number) (template_string) (array) (object) (call_expression) (new_expression) (true) (false) (member_expression) (regex) (binary_expression)]) @definition.constant))
(program (export_statement declaration: (lexical_declaration (variable_declarator name: (identifier) @name value: [(string) (number) (template_string) (array) (object) (call_expression) (new_expression) (true) (false) (member_expression) (regex) (binary_expression)]) @definition.constant)))
(import_statement source: (string) @import)
(export_statement source: (string) @import)
(call_expression function: (import) arguments: (arguments . (string) @import))
((call_expression function: (identifier) @_require arguments: (arguments . (string) @import .)) (#eq? @_require "require"))
; ---- names, each by its node ----
[(identifier) (property_identifier) (private_property_identifier) (shorthand_property_identifier) (shorthand_property_identifier_pattern)] @reference
; ---- names as words: what of the text is none; all other words that no keyword is are names ----
[(hash_bang_line) (html_comment) (jsx_text) (html_character_reference)] @opaque
[(comment) (string) (template_string) (regex) (statement_identifier) (this) (super) (true) (false) (null) (undefined)] @opaque
(template_substitution) @clear
"${" @opaque
; Nearly every keyword may name a property.
["as" "async" "await" "break" "case" "catch" "class" "const" "continue" "debugger" "default" "delete" "do" "else" "export" "extends" "finally" "for" "from" "function" "get" "if" "import" "in" "instanceof" "let" "meta" "new" "of" "return" "set" "static" "switch" "target" "throw" "try" "typeof" "using" "var" "void" "while" "with" "yield"] @opaque
