; A section is a heading with all that stands below it, down to the next heading that is not deeper.
(section . (atx_heading heading_content: (_) @name)) @definition.heading
(setext_heading heading_content: (paragraph) @name) @definition.heading

; ---- imports and more: read by facts() alone, not by whoever edits ----
(link_reference_definition (link_destination) @import)
(inline) @prose
