--- A conversation as a Markdown buffer: one writes below the last heading, and the answer comes there.
--- Never keeps what was said: the server does, and `:Glm sessions` brings it back.
local M = {}

require("glm_lsp.highlights")

local events = require("glm_lsp.events")
local mentions = require("glm_lsp.mentions")
local options = require("glm_lsp.options")
local server = require("glm_lsp.server")
local words = require("glm_lsp.words")

local SPACE = vim.api.nvim_create_namespace("glm_lsp.chat")
local YOU = "## You"
local LOOK = {
  wrap = true,
  linebreak = true,
  number = false,
  signcolumn = "no",
  foldmethod = "manual",
  foldenable = true,
  foldtext = "getline(v:foldstart)",
  fillchars = "fold: ",
}

---@class glm_lsp.Chat
---@field buffer integer
---@field conversation? string
---@field thinking "auto"|"on"|"off"
---@field turn? string
---@field mode? "thinking"|"text"
---@field thought? integer The line its thought begins on, from 0.
---@field thoughts integer[] Marks of the thoughts that have ended.
---@field calls table<string, integer> Marks of the lines of tool calls.
---@field results table<string, { arguments: table, result?: string }>

---@type table<integer, glm_lsp.Chat>
local chats = {}

--- The one that the person was in last.
---@type glm_lsp.Chat?
local latest = nil

---@param chat glm_lsp.Chat
---@param text string Added at the very end of the buffer.
local function append(chat, text)
  local buffer = chat.buffer
  if not vim.api.nvim_buf_is_valid(buffer) then
    return
  end
  local last = vim.api.nvim_buf_line_count(buffer) - 1
  local following = {}
  for _, window in ipairs(vim.fn.win_findbuf(buffer)) do
    if vim.api.nvim_win_get_cursor(window)[1] == last + 1 then
      table.insert(following, window)
    end
  end
  local column = #vim.api.nvim_buf_get_lines(buffer, last, last + 1, true)[1]
  vim.api.nvim_buf_set_text(buffer, last, column, last, column, vim.split(text, "\n", { plain = true }))
  -- It follows only where the person is at the end.
  local now = vim.api.nvim_buf_line_count(buffer)
  for _, window in ipairs(following) do
    vim.api.nvim_win_set_cursor(window, { now, 0 })
  end
  vim.bo[buffer].modified = false
end

---@param chat glm_lsp.Chat
local function fresh_line(chat, blank)
  local last = vim.api.nvim_buf_get_lines(chat.buffer, -3, -1, false)
  local text = table.concat(last, "\n")
  if text ~= "" and last[#last] ~= "" then
    append(chat, blank and "\n\n" or "\n")
  elseif blank and #last > 1 and last[#last - 1] ~= "" then
    append(chat, "\n")
  end
end

--- Folds a thought in a window: each window has its own folds.
---@param window integer
---@param chat glm_lsp.Chat
---@param mark integer
local function close_thought(window, chat, mark)
  local at = vim.api.nvim_buf_get_extmark_by_id(chat.buffer, SPACE, mark, { details = true })
  if options.get().chat.fold and #at > 0 and (at[3].end_row or at[1]) > at[1] then
    vim.api.nvim_win_call(window, function()
      pcall(vim.cmd, ("%d,%dfold"):format(at[1] + 1, at[3].end_row))
    end)
  end
end

--- Folds the lines of a thought under one line that says how long it was.
---@param chat glm_lsp.Chat
---@param event { seconds?: number, tokens?: integer }
local function fold(chat, event)
  local first = chat.thought
  chat.thought, chat.mode = nil, nil
  if not first then
    return
  end
  fresh_line(chat)
  local stop = vim.api.nvim_buf_line_count(chat.buffer) - 1
  vim.api.nvim_buf_set_lines(chat.buffer, first, first + 1, false, { "▸ " .. words.thought(event) })
  local mark = vim.api.nvim_buf_set_extmark(chat.buffer, SPACE, first, 0, {
    end_row = stop,
    hl_group = "GlmThinking",
    hl_eol = false,
  })
  table.insert(chat.thoughts, mark)
  for _, window in ipairs(vim.fn.win_findbuf(chat.buffer)) do
    close_thought(window, chat, mark)
  end
end

--- Colours a chat: by the grammar of Markdown, and while an answer comes by its syntax file. To parse Markdown anew for
--- each piece takes milliseconds, the more the longer the chat is; the syntax file looks at a few lines only.
---@param buffer integer
---@param streaming? boolean
function M.colour(buffer, streaming)
  local ok, parser = pcall(vim.treesitter.get_parser, buffer, "markdown")
  if streaming or not ok or not parser then
    vim.treesitter.stop(buffer)
    vim.bo[buffer].syntax = "markdown"
    return
  end
  -- The colours that are there stay until it is parsed.
  parser:parse(true, function()
    if vim.api.nvim_buf_is_valid(buffer) and not (chats[buffer] and chats[buffer].turn) then
      vim.treesitter.start(buffer, "markdown")
    end
  end)
end

---@type table<string, fun(chat: glm_lsp.Chat, event: table)>
local SHOW = {
  start = function(chat)
    M.colour(chat.buffer, true)
  end,
  thinking = function(chat, event)
    if chat.mode ~= "thinking" then
      fresh_line(chat, true)
      chat.thought = vim.api.nvim_buf_line_count(chat.buffer) - 1
      append(chat, "▾ Thinking…\n")
      chat.mode = "thinking"
    end
    append(chat, event.text)
  end,
  thinkingEnd = fold,
  text = function(chat, event)
    if chat.mode ~= "text" then
      fresh_line(chat, true)
      chat.mode = "text"
    end
    append(chat, event.text)
  end,
  toolCall = function(chat, event)
    fresh_line(chat)
    chat.mode = nil
    local line = vim.api.nvim_buf_line_count(chat.buffer) - 1
    append(chat, "  " .. event.title .. "\n")
    chat.calls[event.callId] = vim.api.nvim_buf_set_extmark(chat.buffer, SPACE, line, 0, {
      end_row = line + 1,
      hl_group = "GlmTool",
    })
    chat.results[event.callId] = { arguments = event.arguments }
  end,
  toolResult = function(chat, event)
    local mark = chat.calls[event.callId]
    local at = mark and vim.api.nvim_buf_get_extmark_by_id(chat.buffer, SPACE, mark, {}) or {}
    if #at > 0 then
      local end_of = #vim.api.nvim_buf_get_lines(chat.buffer, at[1], at[1] + 1, true)[1]
      vim.api.nvim_buf_set_text(chat.buffer, at[1], end_of, at[1], end_of, { " · " .. event.outcome })
      vim.bo[chat.buffer].modified = false
    end
    if chat.results[event.callId] then
      chat.results[event.callId].result = event.result
    end
  end,
  compacted = function(chat, event)
    fresh_line(chat, true)
    append(chat, ("*Made shorter: %d → %d tokens*\n"):format(event.before, event.after))
  end,
  context = function(chat, event)
    local names = {}
    for number, file in ipairs(event.files) do
      names[number] = vim.fs.basename(vim.uri_to_fname(file.uri))
    end
    local more = #names > 3 and (" +%d"):format(#names - 3) or ""
    fresh_line(chat, true)
    append(
      chat,
      ("*Read first: %s%s · %d tokens*\n"):format(
        table.concat(names, ", ", 1, math.min(3, #names)),
        more,
        event.tokens
      )
    )
  end,
  queued = function(chat, event)
    if event.place > 0 then
      fresh_line(chat, true)
      append(chat, ("*Busy · %d in line*\n"):format(event.place))
    end
  end,
  warning = function(chat, event)
    fresh_line(chat, true)
    append(chat, ("*%s*\n"):format(event.message))
  end,
  proposal = function(chat, event)
    fresh_line(chat, true)
    append(chat, ("**%s** `:Glm review`\n"):format(words.size(event.files)))
  end,
  ["end"] = function(chat, event)
    fresh_line(chat, true)
    append(chat, ("*%s*\n\n%s\n\n"):format(words.ended(event), YOU))
    chat.turn, chat.mode = nil, nil
    M.colour(chat.buffer)
  end,
}

local SPLITS = { right = "right", left = "left", below = "below" }

--- Shows a chat, in the window that it has or in another chat's; with `stay` the person stays where they are.
---@param buffer integer
---@param stay? boolean
local function open_window(buffer, stay)
  local here = vim.api.nvim_get_current_win()
  local window = vim.fn.bufwinid(buffer)
  local is_new = window < 0
  for _, one in ipairs(vim.api.nvim_tabpage_list_wins(0)) do
    local other = chats[vim.api.nvim_win_get_buf(one)]
    if window < 0 and stay and other and not other.turn and one ~= here then
      vim.api.nvim_win_set_buf(one, buffer)
      window = one
    end
  end
  if window < 0 then
    local wish = options.get().chat
    local split = SPLITS[wish.position] or stay and "right"
    if split then
      window = vim.api.nvim_open_win(buffer, false, { split = split, win = -1 })
      if split == "below" then
        vim.api.nvim_win_set_height(window, math.min(wish.size, math.floor(vim.o.lines / 2)))
      else
        vim.api.nvim_win_set_width(window, math.min(wish.size, math.floor(vim.o.columns / 2)))
      end
    else
      if wish.position == "tab" then
        vim.cmd("tab split")
      end
      window = vim.api.nvim_get_current_win()
      vim.api.nvim_win_set_buf(window, buffer)
    end
  end
  for name, value in pairs(LOOK) do
    vim.api.nvim_set_option_value(name, value, { scope = "local", win = window })
  end
  for _, mark in ipairs(is_new and chats[buffer].thoughts or {}) do
    close_thought(window, chats[buffer], mark)
  end
  vim.api.nvim_win_set_cursor(window, { vim.api.nvim_buf_line_count(buffer), 0 })
  vim.api.nvim_set_current_win(stay and here or window)
end

---@return glm_lsp.Chat
local function create(conversation, name)
  local buffer = vim.api.nvim_create_buf(true, false)
  ---@type glm_lsp.Chat
  local chat =
    { buffer = buffer, conversation = conversation, thinking = "auto", thoughts = {}, calls = {}, results = {} }
  chats[buffer] = chat
  vim.api.nvim_buf_set_name(buffer, ("glm://chat/%d"):format(buffer))
  vim.bo[buffer].buftype, vim.bo[buffer].swapfile = "acwrite", false
  vim.bo[buffer].filetype = "glmchat"
  vim.api.nvim_create_autocmd("BufWriteCmd", {
    buffer = buffer,
    callback = function()
      M.send(buffer)
    end,
  })
  vim.api.nvim_create_autocmd("BufEnter", {
    buffer = buffer,
    callback = function()
      latest = chat
    end,
  })
  vim.api.nvim_create_autocmd("BufWipeout", {
    buffer = buffer,
    callback = function()
      chats[buffer] = nil
    end,
  })
  vim.api.nvim_buf_set_lines(buffer, 0, -1, false, { "# " .. (name or "GLM"), "", YOU, "", "" })
  vim.bo[buffer].modified = false
  return chat
end

--- What answers in words, and so in a chat, also where it was not asked there.
local ANSWERS = { chat = true, explain = true, review_file = true, review_diff = true }

--- A chat beside what the person is at, who stays there, for a turn that was begun elsewhere.
---@param params glm_lsp.TurnEvent
---@return glm_lsp.Chat
local function adopt(params)
  local event = params.event
  local chat
  for _, one in pairs(chats) do
    chat = one.conversation == params.conversationId and one or chat
  end
  chat = chat or create(params.conversationId)
  local name = event.files[1] and vim.fs.basename(vim.uri_to_fname(event.files[1])) or ""
  local action = event.action:gsub("_", " "):gsub("^%l", string.upper)
  local asked = vim.trim(event.instruction) ~= "" and event.instruction or vim.trim(action .. " " .. name)
  append(chat, asked .. "\n\n")
  open_window(chat.buffer, true)
  return chat
end

events.listen("chat", function(params)
  local event, owned = params.event, nil
  for _, chat in pairs(chats) do
    local mine = chat.turn == params.turnId
      or (chat.turn == "" and event.type == "start" and chat.conversation == params.conversationId)
    owned = mine and chat or owned
  end
  if not owned and event.type == "start" and ANSWERS[event.action] then
    owned = adopt(params)
  end
  if owned and vim.api.nvim_buf_is_valid(owned.buffer) then
    owned.turn = params.turnId
    local turn = events.turns[params.turnId]
    if turn then
      turn.answered = true
    end
    local show = SHOW[event.type]
    if show then
      show(owned, event)
    end
  end
end)

--- The chat of a buffer; of the current one without a buffer.
---@param buffer? integer
---@return glm_lsp.Chat?
function M.of(buffer)
  return chats[buffer or vim.api.nvim_get_current_buf()]
end

--- The chat that the person was in last.
---@return glm_lsp.Chat?
function M.last()
  return latest and chats[latest.buffer]
end

--- Opens a chat: the one there is, or a new one.
---@param given? { new?: boolean, conversation?: string, name?: string }
---@return glm_lsp.Chat
function M.open(given)
  given = given or {}
  local chat
  if given.conversation then
    for _, one in pairs(chats) do
      chat = one.conversation == given.conversation and one or chat
    end
  elseif not given.new then
    chat = M.of() or M.last()
  end
  chat = chat or create(given.conversation, given.name)
  open_window(chat.buffer)
  return chat
end

--- What the person wrote below the last heading.
---@param buffer integer
local function written(buffer)
  local lines = vim.api.nvim_buf_get_lines(buffer, 0, -1, false)
  for index = #lines, 1, -1 do
    if lines[index] == YOU then
      return vim.trim(table.concat(vim.list_slice(lines, index + 1), "\n"))
    end
  end
  return ""
end

---@param chat glm_lsp.Chat
---@param text string
---@param extra? table
local function turn(chat, text, extra)
  local meant = mentions.meant(text)
  chat.turn = ""
  local code = meant.buffer or mentions.last_code()
  local uri = code and server.uri(code)
  ---@type glm_lsp.TurnParams
  local params = vim.tbl_extend("force", {
    instruction = meant.words,
    action = "chat",
    conversationId = chat.conversation,
    thinking = chat.thinking,
    mentions = meant.mentions,
    workspaceFolder = uri and vim.uri_from_fname(vim.fs.root(code, ".git") or vim.fs.dirname(vim.uri_to_fname(uri)))
      or nil,
    textDocument = meant.range and uri and { uri = uri } or nil,
    range = meant.range,
  }, extra or {})
  local client = server.request("glm/turn", params, function() end, function(err)
    if chat.turn == "" then
      fresh_line(chat, true)
      local hint = type(err.data) == "table" and err.data.hint or ""
      append(chat, ("*%s*\n\n%s\n\n"):format(vim.trim(err.message .. " " .. hint), YOU))
      chat.turn = nil
    end
  end)
  if not client then
    chat.turn = nil
  end
end

--- Sends what stands below the last heading; while a turn runs, the words are told to it.
---@param buffer? integer
function M.send(buffer)
  local chat = M.of(buffer)
  if not chat then
    vim.notify("GLM: this is no chat: `:Glm chat` opens one")
    return
  end
  local text = written(chat.buffer)
  if text == "" then
    vim.notify("GLM: write below the last `## You` first")
    return
  end
  local thinking = text:match("^/think%s+(%a+)$")
  if thinking then
    M.think(thinking)
    local lines = vim.api.nvim_buf_get_lines(chat.buffer, 0, -1, false)
    for index = #lines, 1, -1 do
      if lines[index]:match("^%s*/think") then
        vim.api.nvim_buf_set_lines(chat.buffer, index - 1, -1, false, { "" })
        return
      end
    end
  end
  if chat.turn then
    vim.notify("GLM: it still works; `:Glm tell WORDS` says something meanwhile, `:Glm stop` ends it")
    return
  end
  fresh_line(chat, true)
  vim.bo[chat.buffer].modified = false
  if chat.conversation then
    return turn(chat, text)
  end
  local code = mentions.last_code()
  local root = vim.fs.root(code or 0, ".git")
  local folder = root and vim.uri_from_fname(root) or nil
  chat.turn = ""
  local client = server.request("glm/conversation/new", { workspaceFolder = folder }, function(told)
    chat.conversation = told.conversationId
    turn(chat, text)
  end)
  if not client then
    chat.turn = nil
  end
end

--- Asks in the chat, as if it had been written there.
---@param text string
---@param extra? table Fields of the turn's params, such as a range.
function M.ask(text, extra)
  local chat = M.open()
  if chat.turn then
    server.request("glm/turn/tell", { turnId = chat.turn, text = text })
    return
  end
  append(chat, text)
  if extra and extra.textDocument then
    local began = function()
      turn(chat, text, extra)
    end
    fresh_line(chat, true)
    if chat.conversation then
      return began()
    end
    chat.turn = ""
    server.request("glm/conversation/new", {}, function(told)
      chat.conversation = told.conversationId
      began()
    end)
    return
  end
  M.send(chat.buffer)
end

---@param how string
function M.think(how)
  local chat = M.of() or M.open()
  if how ~= "on" and how ~= "off" and how ~= "auto" then
    vim.notify("GLM: thinking is on, off or auto")
    return
  end
  chat.thinking = how
  vim.notify("GLM: thinking is " .. how)
end

--- Shows a conversation that was begun anywhere: here, in another editor, on the command line.
---@param id string
---@param name? string
function M.resume(id, name)
  server.request("glm/conversation/get", { conversationId = id }, function(told)
    local chat = M.open({ conversation = told.conversationId, name = told.name ~= "" and told.name or name })
    vim.api.nvim_buf_clear_namespace(chat.buffer, SPACE, 0, -1)
    chat.thoughts, chat.calls, chat.results = {}, {}, {}
    vim.api.nvim_buf_set_lines(
      chat.buffer,
      0,
      -1,
      false,
      { "# " .. (told.name ~= "" and told.name or name or "GLM"), "", "" }
    )
    for _, message in ipairs(told.messages) do
      if message.role == "user" then
        fresh_line(chat, true)
        append(chat, YOU .. "\n\n" .. message.text .. "\n\n")
      elseif message.role == "assistant" then
        if message.thinking and message.thinking ~= "" then
          SHOW.thinking(chat, { text = message.thinking })
          fold(chat, {})
        end
        if message.text ~= "" then
          chat.mode = nil
          SHOW.text(chat, { text = message.text })
        end
        for _, call in ipairs(message.toolCalls or {}) do
          local ok, arguments = pcall(vim.json.decode, call.arguments)
          arguments = ok and type(arguments) == "table" and arguments or {}
          local object = arguments.file_path or arguments.path or arguments.pattern or arguments.command
          local title = type(object) == "string" and call.name .. " " .. object:gsub("%s+", " ") or call.name
          SHOW.toolCall(chat, { callId = call.id, title = title, arguments = arguments })
        end
      elseif message.role == "tool" and chat.results[message.callId] then
        chat.results[message.callId].result = message.text
      end
    end
    fresh_line(chat, true)
    append(chat, YOU .. "\n\n")
    vim.api.nvim_win_set_cursor(0, { vim.api.nvim_buf_line_count(chat.buffer), 0 })
  end)
end

--- Opens the tool call under the cursor: what was asked, and what came back.
---@return boolean # Whether there was one.
function M.open_call()
  local chat = M.of()
  local line = vim.api.nvim_win_get_cursor(0)[1] - 1
  for id, mark in pairs(chat and chat.calls or {}) do
    local at = vim.api.nvim_buf_get_extmark_by_id(chat.buffer, SPACE, mark, {})
    if at[1] == line then
      local told = chat.results[id]
      local text = vim.inspect(told.arguments) .. "\n\n" .. (told.result or "(it still runs)")
      vim.lsp.util.open_floating_preview(vim.split(text, "\n"), "", { border = "rounded", max_height = 30 })
      return true
    end
  end
  return false
end

--- Ends the turn of this chat, or all turns.
function M.stop()
  local chat = M.of()
  local ids = chat and chat.turn and chat.turn ~= "" and { chat.turn } or vim.tbl_keys(events.turns)
  for _, id in ipairs(ids) do
    server.notify("glm/turn/cancel", { turnId = id })
  end
  if #ids == 0 then
    vim.notify("GLM: nothing runs")
  end
end

return M
