; Only the keys of the outermost object: deeper ones repeat endlessly.
(document (object (pair key: (string (string_content) @name)) @definition.key))
