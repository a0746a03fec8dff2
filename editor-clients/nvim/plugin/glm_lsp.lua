-- The command and the <Plug> maps; everything else is loaded when it is first used.
if vim.g.loaded_glm_lsp then
  return
end
vim.g.loaded_glm_lsp = true

vim.api.nvim_create_user_command("Glm", function(given)
  require("glm_lsp.commands").run(given)
end, {
  nargs = "*",
  range = true,
  bang = true,
  desc = "GLM: ask, refactor, review",
  complete = function(lead, line, at)
    return require("glm_lsp.commands").complete(lead, line, at)
  end,
})

for name, call in pairs({
  ["next-hunk"] = "next",
  ["previous-hunk"] = "previous",
  ["accept-hunk"] = "accept",
  ["reject-hunk"] = "reject",
  ["accept-all"] = "accept_all",
  ["reject-all"] = "reject_all",
  ["why"] = "why",
}) do
  vim.keymap.set("n", ("<Plug>(glm-%s)"):format(name), function()
    require("glm_lsp.review")[call]()
  end)
end
vim.keymap.set("n", "<Plug>(glm-chat)", "<Cmd>Glm chat<CR>")
vim.keymap.set("n", "<Plug>(glm-repeat)", function()
  require("glm_lsp.commands").again()
end)
