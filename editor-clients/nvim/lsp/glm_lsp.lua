-- Read by `vim.lsp.enable("glm_lsp")`; change any of it with `vim.lsp.config("glm_lsp", { … })`.
return require("glm_lsp.server").config()
