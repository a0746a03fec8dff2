vim.lsp.config("glm_lsp", { cmd = { "glm-lsp", "--stdio" }, root_markers = { ".git" } })
vim.lsp.enable("glm_lsp")
local function glm(command, given)
  local client = assert(vim.lsp.get_clients({ name = "glm_lsp" })[1], "glm-lsp does not run: open a file first")
  client:exec_cmd({ title = command, command = command, arguments = { given } })
end
vim.api.nvim_create_user_command("Glm", function(a) glm("glm.ask", { prompt = a.args, uri = vim.uri_from_bufnr(0) }) end, { nargs = "+" })
vim.api.nvim_create_user_command("GlmStop", function() glm("glm.cancel", vim.empty_dict()) end, {})
vim.api.nvim_create_autocmd("LspProgress", { callback = vim.schedule_wrap(function() vim.cmd("checktime | redrawstatus") end) })
vim.o.statusline = "%f %m%=%{v:lua.vim.lsp.status()}"
