--- What the server tells and asks while turns run, and who hears of it.
--- Never decides: the chat, the review and the person's own autocommands do.
local M = {}

---@class glm_lsp.Turn What is known of one turn while it runs.
---@field id string
---@field conversation string
---@field action string
---@field instruction string
---@field line string What it does right now, for a status line.
---@field began number
---@field said string What the model said until now.
---@field answered? boolean Whether a chat shows it.
---@field thinking? boolean
---@field thought? string The end of what it thinks.
---@field proposal? string

---@type table<string, glm_lsp.Turn>
M.turns = {}

---@type { health: string, message: string, turns: integer }
M.health = { health = "ok", message = "", turns = 0 }

--- Tokens of the last request, for the status line.
---@type glm_lsp.Usage?
M.usage = nil

--- How many tokens the model can read and write in all; nil until it is known.
---@type integer?
M.context = nil

---@type table<string, fun(params: glm_lsp.TurnEvent)>
local listeners = {}

--- Has a function told every event of every turn; another one of the same name takes its place.
---@param name string
---@param hears fun(params: glm_lsp.TurnEvent)?
function M.listen(name, hears)
  listeners[name] = hears
end

local function announce(pattern, data)
  vim.api.nvim_exec_autocmds("User", { pattern = pattern, modeline = false, data = data })
end

local drawing = false

--- Has a status line that shows us drawn again, ten times a second at most.
local function redraw_status()
  local ours = (vim.o.statusline .. vim.o.winbar .. vim.o.tabline):find("glm_lsp", 1, true)
  if ours and not drawing then
    drawing = true
    vim.defer_fn(function()
      drawing = false
      vim.cmd("redrawstatus! | redrawtabline")
    end, 100)
  end
end

--- A turn that was to change code and changed none: the person hears why, where the model said it.
---@param turn glm_lsp.Turn
---@param event glm_lsp.End
local function changed_nothing(turn, event)
  if not turn.answered and not turn.proposal and not event.error and turn.said ~= "" then
    vim.notify("GLM: " .. vim.trim(turn.said))
  end
end

--- Learns once how much the model can read, when it has worked and so is known.
local function learn_context()
  if not M.context then
    require("glm_lsp.server").request("glm/status", vim.empty_dict(), function(told)
      M.context = told.engine.contextTokens
      redraw_status()
    end, function() end)
  end
end

local LINES = {
  thinking = function(turn, event)
    local text = (turn.thought or "") .. event.text
    turn.thought = text:sub(-400)
    return "Thinking… " .. vim.trim(turn.thought:match("[^\n]*$"))
  end,
  text = function(turn, event)
    turn.said = turn.said .. event.text
    return "Writing…"
  end,
  toolCall = function(_, event)
    return event.title
  end,
  hunk = function(_, event)
    return "Editing " .. vim.fs.basename(vim.uri_to_fname(event.uri))
  end,
}

---@param _ any
---@param params glm_lsp.TurnEvent
function M.turn_event(_, params)
  local event = params.event
  local turn = M.turns[params.turnId]
  if not turn then
    turn = { id = params.turnId, action = "", instruction = "", line = "", said = "", began = vim.uv.now() }
    M.turns[params.turnId] = turn
  end
  turn.conversation = params.conversationId
  if event.type == "start" then
    turn.action, turn.instruction, turn.thinking = event.action, event.instruction, event.thinking
    -- The chat shows what is answered in words, whoever asked.
    require("glm_lsp.chat")
    announce("GlmStart", params)
  elseif event.type == "usage" then
    M.usage = event
  elseif event.type == "proposal" then
    turn.proposal = event.proposalId
  end
  local line = LINES[event.type]
  turn.line = line and line(turn, event) or turn.line
  for _, hears in pairs(listeners) do
    hears(params)
  end
  if event.type == "proposal" then
    require("glm_lsp.review").proposed(params)
    announce("GlmDiff", params)
  elseif event.type == "hunk" then
    require("glm_lsp.preview").hunk(params)
    announce("GlmDelta", params)
  elseif event.type == "end" then
    M.turns[params.turnId] = nil
    changed_nothing(turn, event)
    require("glm_lsp.preview").clear(params.turnId)
    announce("GlmDone", params)
    if not event.error then
      learn_context()
    end
  elseif event.type ~= "start" then
    announce("GlmDelta", params)
  end
  redraw_status()
end

function M.status(_, params)
  M.health = params
  announce("GlmStatus", params)
end

--- Asks in a list, from within the handler of a request: its coroutine waits, Neovim does not.
local function choose(items, prompt, format)
  local running, is_main = coroutine.running()
  if not running or is_main then
    return nil
  end
  local answered, answer = false, nil
  vim.schedule(function()
    vim.ui.select(items, { prompt = prompt, format_item = format, kind = "glm" }, function(item)
      if not answered then
        answered, answer = true, item
        coroutine.resume(running)
      end
    end)
  end)
  coroutine.yield()
  return answer
end

local ANSWERS = {
  once = "Once",
  always = "Always, for exactly this",
  tool = "Always, for this tool",
  no = "No",
  never = "Never, for exactly this",
}

---@param _ any
---@param params glm_lsp.PermissionParams
---@return { answer: string }
function M.permission(_, params)
  local where = params.confined and "confined to the workspace, without network" or "NOT confined"
  local prompt = ("GLM asks to run, %s: %s"):format(where, params.detail)
  local answer = choose(params.options, prompt, function(item)
    return ANSWERS[item] or item
  end)
  return { answer = answer or "no" }
end

local OTHER = "Something else…"

---@param _ any
---@param params glm_lsp.QuestionParams
---@return { answer?: string }
function M.question(_, params)
  local items = vim.list_extend(vim.list_slice(params.options or {}), { OTHER })
  local answer = #items > 1 and choose(items, params.question, tostring) or OTHER
  if answer == OTHER then
    local running = coroutine.running()
    answer = nil
    vim.schedule(function()
      vim.ui.input({ prompt = params.question .. " " }, function(words)
        answer = words
        coroutine.resume(running)
      end)
    end)
    coroutine.yield()
  end
  return answer and answer ~= "" and { answer = answer } or vim.empty_dict()
end

--- The server is gone: what ran is over.
function M.gone(code, signal)
  M.context = nil
  local running = vim.tbl_count(M.turns)
  for id, turn in pairs(M.turns) do
    local why = { code = "gone", message = "glm-lsp ended while it worked.", hint = "It starts again when you ask." }
    local usage = { inputTokens = 0, outputTokens = 0 }
    local event = { type = "end", stopReason = "error", usage = usage, seconds = 0, error = why }
    M.turn_event(nil, { v = 1, turnId = id, conversationId = turn.conversation, seq = 0, t = 0, event = event })
  end
  M.health = { health = "error", message = "glm-lsp does not run", turns = 0 }
  if running > 0 or (code ~= 0 and signal == 0) then
    vim.notify(("glm-lsp ended (exit %d): see `:checkhealth glm_lsp`"):format(code), vim.log.levels.ERROR)
  end
end

return M
