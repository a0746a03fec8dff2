(create_table (object_reference name: (identifier) @name)) @definition.table
(create_view (object_reference name: (identifier) @name)) @definition.view
(create_materialized_view (object_reference name: (identifier) @name)) @definition.view
(create_function (keyword_function) . (object_reference name: (identifier) @name)) @definition.function
(create_procedure (object_reference name: (identifier) @name)) @definition.function
(create_index column: (identifier) @name) @definition.index
(create_type (object_reference name: (identifier) @name)) @definition.type
(create_trigger (keyword_trigger) . (object_reference name: (identifier) @name)) @definition.trigger

; ---- imports and more: read by facts() alone, not by whoever edits ----
; ---- names, each by its node ----
(identifier) @reference
