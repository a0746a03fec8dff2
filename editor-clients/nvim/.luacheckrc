std = "luajit"
globals = { "vim" }
max_line_length = 120
files["lua/glm_lsp/protocol.lua"] = { max_line_length = false } -- generated
files["lua/glm_lsp/defaults.lua"] = { max_line_length = false } -- generated
