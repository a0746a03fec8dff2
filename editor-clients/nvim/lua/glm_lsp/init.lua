--- What a person's own configuration calls.
--- Never needs a set-up: `vim.lsp.enable("glm_lsp")` is all.
local M = {}

--- For a status line: the engine, what it does now, how much of its context is used and reused.
--- Empty where no server runs.
---@return string
function M.statusline()
  local server = package.loaded["glm_lsp.server"]
  local client = server and server.client()
  if not client then
    return ""
  end
  local events = require("glm_lsp.events")
  local _, turn = next(events.turns)
  if turn then
    return ("GLM · %s"):format(turn.line ~= "" and turn.line:sub(1, 60) or "starting")
  end
  if events.health.health == "error" then
    return "GLM · " .. events.health.message
  end
  local waiting = package.loaded["glm_lsp.review"] and require("glm_lsp.review").waiting()
  if waiting then
    return ("GLM · %d to review"):format(waiting)
  end
  local parts = { "GLM", "ready" }
  local usage = events.usage
  if usage and events.context then
    local share = 100 * (usage.inputTokens + usage.outputTokens) / events.context
    table.insert(parts, ("%d %% of context"):format(math.ceil(share)))
  end
  if usage and usage.cachedTokens and usage.inputTokens > 0 then
    table.insert(parts, ("%d %% reused"):format(math.floor(100 * usage.cachedTokens / usage.inputTokens)))
  end
  return table.concat(parts, " · ")
end

--- Asks in the chat.
---@param words string
function M.ask(words)
  require("glm_lsp.chat").ask(words)
end

return M
