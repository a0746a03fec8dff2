--- The sentences that a person reads while the model works, the same as in every other face.
--- Never keeps anything.
local M = {}

local function number(n)
  local text = tostring(math.floor(n))
  local formatted = text:reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", "")
  return formatted
end

---@param seconds number
---@return string
function M.duration(seconds)
  if seconds < 9.95 then
    return ("%.1f s"):format(seconds):gsub("%.0 s", " s")
  end
  return seconds < 120 and ("%d s"):format(math.floor(seconds + 0.5))
    or ("%d min"):format(math.floor(seconds / 60 + 0.5))
end

---@param event { seconds?: number, tokens?: integer } Without its seconds where nobody knows them any more.
---@return string
function M.thought(event)
  if not event.seconds then
    return "Thought"
  end
  local tokens = event.tokens and (" · %s tokens"):format(number(event.tokens)) or ""
  return ("Thought for %s%s"):format(M.duration(event.seconds), tokens)
end

---@param usage glm_lsp.Usage
---@return string
function M.usage(usage)
  local parts = { ("%s tokens"):format(number(usage.outputTokens)), ("%s read"):format(number(usage.inputTokens)) }
  if usage.cachedTokens and usage.inputTokens > 0 then
    parts[2] = parts[2] .. (", %d %% reused"):format(math.floor(100 * usage.cachedTokens / usage.inputTokens))
  end
  return table.concat(parts, " · ")
end

---@param event glm_lsp.Ended
---@return string
function M.ended(event)
  if event.error then
    return vim.trim(("%s %s"):format(event.error.message, event.error.hint or ""))
  end
  local first = ({
    done = "Done",
    cancelled = "Stopped",
    limit = "Ended at a limit",
    nothing = "Nothing to do",
  })[event.stopReason] or event.stopReason
  return ("%s in %s · %s"):format(first, M.duration(event.seconds), M.usage(event.usage))
end

--- How much a proposal changes: `3 files · +24 −11`.
---@param files { added: integer, removed: integer }[]
---@return string
function M.size(files)
  local added, removed = 0, 0
  for _, file in ipairs(files) do
    added, removed = added + file.added, removed + file.removed
  end
  return ("%d file%s · +%d −%d"):format(#files, #files == 1 and "" or "s", added, removed)
end

return M
