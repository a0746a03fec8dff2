-- A chat is Markdown with a few keys of its own.
vim.treesitter.language.register("markdown", "glmchat")
require("glm_lsp.chat").colour(vim.api.nvim_get_current_buf())
vim.bo.omnifunc = "v:lua.require'glm_lsp.mentions'.complete"
vim.keymap.set("n", "<CR>", function()
  local chat = require("glm_lsp.chat")
  if not chat.open_call() then
    chat.send()
  end
end, { buffer = true, desc = "GLM: send, or open the tool call" })
vim.keymap.set("i", "<C-s>", "<Cmd>lua require('glm_lsp.chat').send()<CR>", { buffer = true, desc = "GLM: send" })
vim.keymap.set("n", "<C-c>", "<Cmd>Glm stop<CR>", { buffer = true, desc = "GLM: stop" })
