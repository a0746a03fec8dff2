--- `:checkhealth glm_lsp`: what is there, what is missing, and what to do about it.
--- Never changes anything.
local M = {}

function M.check()
  local health = vim.health
  local options, server = require("glm_lsp.options"), require("glm_lsp.server")
  health.start("glm-lsp")
  if vim.fn.has("nvim-0.11") == 1 then
    health.ok("Neovim " .. tostring(vim.version()))
  else
    health.error("Neovim 0.11 or later is needed", "Update Neovim")
  end
  local faults = options.faults()
  for _, fault in ipairs(faults) do
    health.warn("vim.g.glm_lsp: " .. fault, "See :help glm-lsp-options")
  end
  if #faults == 0 then
    health.ok("vim.g.glm_lsp is as it should be")
  end
  local cmd, why = server.find()
  if not cmd then
    health.error(why, "Run :Glm install")
    return
  end
  local version = vim.system({ cmd[1], "--version" }, { text = true }):wait(20000)
  if version.code == 0 then
    health.ok(("%s: %s"):format(vim.fn.exepath(cmd[1]), vim.trim(version.stdout)))
  else
    health.error(cmd[1] .. " does not run", vim.split(vim.trim(version.stderr or ""), "\n"))
    return
  end
  if vim.lsp.is_enabled and not vim.lsp.is_enabled(server.NAME) then
    health.warn("it is not enabled", 'Put vim.lsp.enable("glm_lsp") into your configuration')
  end
  local client = server.client()
  if client then
    local ours = vim.tbl_get(client, "server_capabilities", "experimental", "glm")
    health.ok(("it runs, for %s, protocol %s"):format(client.root_dir or "single files", ours and ours.protocol or "?"))
  else
    health.info("it does not run: it starts with the first file")
  end
  health.start("the engine")
  local doctor = vim.system({ cmd[1], "doctor", "--json" }, { text = true }):wait(60000)
  local ok, told = pcall(vim.json.decode, doctor.stdout or "")
  if not ok or type(told) ~= "table" then
    health.error(
      "glm-lsp doctor did not answer",
      vim.split(vim.trim((doctor.stderr or "") .. (doctor.stdout or "")), "\n")
    )
    return
  end
  for name, one in vim.spairs(told.checks) do
    local text = ("%s: %s"):format(name, one.says)
    local hint = one["do"] ~= "" and { one["do"] } or nil
    if one.state == "ok" then
      health.ok(text)
    elseif one.state == "wrong" then
      health.error(text, hint)
    else
      health.warn(text, hint)
    end
  end
end

return M
