-- All that a user of the plug-in writes.
vim.opt.runtimepath:append(vim.env.GLM_PLUGIN)
vim.lsp.enable("glm_lsp")
vim.o.statusline = "%f %m%=%{v:lua.require'glm_lsp'.statusline()}"
