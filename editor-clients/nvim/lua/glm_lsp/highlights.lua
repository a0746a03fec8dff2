--- The groups that we draw with, linked to what a colour scheme has.
--- Never sets a colour.
local M = {}

M.GROUPS = {
  GlmAdded = "DiffAdd",
  GlmRemoved = "DiffDelete",
  GlmAddedSign = "Added",
  GlmRemovedSign = "Removed",
  GlmThinking = "Comment",
  GlmTool = "Special",
}

function M.set()
  for name, link in pairs(M.GROUPS) do
    vim.api.nvim_set_hl(0, name, { link = link, default = true })
  end
end

M.set()
vim.api.nvim_create_autocmd("ColorScheme", {
  group = vim.api.nvim_create_augroup("glm_lsp.highlights", { clear = true }),
  callback = M.set,
})

return M
