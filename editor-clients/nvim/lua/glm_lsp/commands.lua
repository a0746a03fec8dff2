--- `:Glm` and its words.
--- Never does the work itself: the chat, the review and the server do.
local M = {}

local server = require("glm_lsp.server")

---@class glm_lsp.Given What stood behind `:Glm`.
---@field words string
---@field first? integer The range's first line.
---@field last? integer
---@field bang boolean

---@type glm_lsp.Given?
local latest = nil

---@type string?
local latest_name = nil

---@param given glm_lsp.Given
local function where(given)
  local buffer = vim.api.nvim_get_current_buf()
  local uri = server.uri(buffer)
  if not uri then
    return {}
  end
  local first, last = given.first, given.last
  if not first then
    local line = vim.api.nvim_win_get_cursor(0)[1]
    return { uri = uri, at = server.lines(line, line) }
  end
  return { uri = uri, range = server.lines(first, last) }
end

--- Runs an action of the server at the range, or at the cursor.
local function action(id, needs_words)
  return function(given)
    if not server.ready() then
      return
    end
    local place = where(given)
    if not place.uri then
      vim.notify("GLM: open a file first", vim.log.levels.WARN)
      return
    end
    local range = place.range or place.at
    local function go(words)
      local arguments = { action = id, uri = place.uri, range = range, instruction = words }
      if id == "fix" then
        local found = {}
        for _, one in ipairs(vim.diagnostic.get(0)) do
          if one.lnum >= range.start.line and one.lnum < range["end"].line then
            table.insert(found, {
              range = {
                start = { line = one.lnum, character = one.col },
                ["end"] = { line = one.end_lnum or one.lnum, character = one.end_col or one.col },
              },
              message = one.message,
              severity = one.severity,
              source = one.source,
              code = one.code,
            })
          end
        end
        arguments.diagnostics = found
      end
      server.command("glm.run", arguments)
    end
    if needs_words and given.words == "" then
      vim.ui.input({ prompt = "GLM: what should change? " }, function(words)
        if words and words ~= "" then
          given.words = words
          go(words)
        end
      end)
    else
      go(given.words)
    end
  end
end

local function sessions(given)
  server.request("glm/conversation/list", vim.empty_dict(), function(told)
    if #told.conversations == 0 then
      vim.notify("GLM: no sessions yet")
      return
    end
    local function resume(entry)
      if entry then
        require("glm_lsp.chat").resume(entry.id, entry.name ~= "" and entry.name or entry.first)
      end
    end
    if given.words ~= "" then
      for _, entry in ipairs(told.conversations) do
        if entry.name == given.words or vim.startswith(entry.id, given.words) then
          return resume(entry)
        end
      end
    end
    vim.ui.select(told.conversations, {
      prompt = "GLM sessions",
      kind = "glm",
      format_item = function(entry)
        local name = entry.name ~= "" and entry.name or entry.first
        return ("%s · %s · %d turns"):format(entry.updated:sub(1, 16):gsub("T", " "), name, entry.turns)
      end,
    }, resume)
  end)
end

local function scratch(title, lines, filetype)
  local buffer = vim.api.nvim_create_buf(false, true)
  vim.api.nvim_buf_set_lines(buffer, 0, -1, false, lines)
  vim.bo[buffer].filetype, vim.bo[buffer].bufhidden, vim.bo[buffer].modifiable = filetype or "markdown", "wipe", false
  vim.cmd("botright split")
  vim.api.nvim_win_set_buf(0, buffer)
  pcall(vim.api.nvim_buf_set_name, buffer, "glm://" .. title)
end

--- The chat one is in, or was in last, where something was said there; the person is told where there is none.
---@return glm_lsp.Chat?
local function conversation()
  local chat = require("glm_lsp.chat").of() or require("glm_lsp.chat").last()
  if chat and chat.conversation then
    return chat
  end
  vim.notify("GLM: there is no conversation yet: `:Glm WORDS` begins one")
end

---@type table<string, { run: fun(given: glm_lsp.Given), about: string, repeats?: boolean, complete?: fun(): string[] }>
M.COMMANDS = {
  chat = {
    about = "opens the chat; with !, a new one",
    run = function(given)
      require("glm_lsp.chat").open({ new = given.bang })
    end,
  },
  ask = {
    about = "asks in the chat; a range is what it is about",
    run = function(given)
      local place = where(given)
      if given.words == "" then
        require("glm_lsp.chat").open()
        return
      end
      local extra = given.first and place.range and { textDocument = { uri = place.uri }, range = place.range } or nil
      require("glm_lsp.chat").ask(given.words, extra)
    end,
  },
  refactor = { about = "changes the code as the words say", run = action("refactor", true), repeats = true },
  fix = { about = "fixes what is reported here", run = action("fix"), repeats = true },
  explain = { about = "explains the code here", run = action("explain"), repeats = true },
  document = { about = "documents the code here", run = action("document"), repeats = true },
  tests = { about = "writes tests for the code here", run = action("generate_tests"), repeats = true },
  simplify = { about = "makes the code here simpler", run = action("simplify"), repeats = true },
  ["do"] = {
    about = "runs an action by its id",
    repeats = true,
    run = function(given)
      local id, rest = given.words:match("^(%S+)%s*(.*)$")
      if not id then
        vim.notify("GLM: which action? See `:help glm-lsp-actions`")
        return
      end
      local inner = vim.tbl_extend("force", given, { words = rest })
      action(id, false)(inner)
    end,
    complete = function()
      local client = server.client()
      return vim.tbl_get(client or {}, "server_capabilities", "experimental", "glm", "actions") or {}
    end,
  },
  review = {
    about = "goes to the first hunk under review; `file` or `changes` has the model review those",
    run = function(given)
      if given.words == "file" then
        return action("review_file")(given)
      elseif given.words == "changes" then
        return server.command("glm.reviewDiff", {})
      end
      local review = require("glm_lsp.review")
      if review.waiting() then
        review.next()
      elseif not review.open_next() then
        vim.notify("GLM: nothing is under review")
      end
    end,
    complete = function()
      return { "file", "changes" }
    end,
  },
  accept = {
    about = "takes the hunk here over; with !, all",
    run = function(given)
      require("glm_lsp.review")[given.bang and "accept_all" or "accept"]()
    end,
  },
  reject = {
    about = "leaves the hunk here out; with !, all",
    run = function(given)
      require("glm_lsp.review")[given.bang and "reject_all" or "reject"]()
    end,
  },
  diff = {
    about = "shows the changes side by side",
    run = function()
      require("glm_lsp.review").diff()
    end,
  },
  undo = {
    about = "takes the last changes back, in all files",
    run = function()
      if not require("glm_lsp.review").undo() then
        server.command("glm.undo", {}, function()
          vim.cmd.checktime()
        end)
      end
    end,
  },
  sessions = { about = "continues a conversation, begun in any editor", run = sessions },
  fork = {
    about = "continues the chat in a copy of it",
    run = function()
      local here = conversation()
      if here then
        server.request("glm/conversation/fork", { conversationId = here.conversation }, function(told)
          require("glm_lsp.chat").resume(told.conversationId)
        end)
      end
    end,
  },
  rename = {
    about = "names the chat",
    run = function(given)
      local here = conversation()
      if here and given.words == "" then
        vim.notify("GLM: which name?")
      elseif here then
        server.request("glm/conversation/rename", { conversationId = here.conversation, name = given.words }, function()
          vim.api.nvim_buf_set_lines(here.buffer, 0, 1, false, { "# " .. given.words })
        end)
      end
    end,
  },
  compact = {
    about = "makes the chat shorter for the model",
    run = function(given)
      local here = conversation()
      if here then
        local params = { conversationId = here.conversation, instruction = given.words }
        server.request("glm/conversation/compact", params, function(told)
          vim.notify(("GLM: %d → %d tokens"):format(told.before, told.after))
        end)
      end
    end,
  },
  think = {
    about = "on, off or auto, for this chat",
    run = function(given)
      require("glm_lsp.chat").think(given.words)
    end,
    complete = function()
      return { "on", "off", "auto" }
    end,
  },
  tell = {
    about = "says something to the model while it works",
    run = function(given)
      local turns = vim.tbl_keys(require("glm_lsp.events").turns)
      local chat = require("glm_lsp.chat").of() or require("glm_lsp.chat").last()
      local id = chat and chat.turn and chat.turn ~= "" and chat.turn or turns[1]
      if not id then
        vim.notify("GLM: nothing runs")
        return
      end
      server.request("glm/turn/tell", { turnId = id, text = given.words })
    end,
  },
  stop = {
    about = "ends what runs",
    run = function()
      require("glm_lsp.chat").stop()
    end,
  },
  context = {
    about = "shows what the model would read first",
    run = function(given)
      local place = where(given)
      local params =
        { instruction = given.words, textDocument = place.uri and { uri = place.uri } or nil, range = place.range }
      server.request("glm/context/preview", params, function(told)
        local lines = { ("# At most %d tokens, %d characters"):format(told.tokensAtMost, told.characters), "" }
        for _, file in ipairs(told.files) do
          local path = vim.fn.fnamemodify(vim.uri_to_fname(file.uri), ":.")
          table.insert(
            lines,
            ("- %s, lines %d to %d: %s"):format(path, file.firstLine + 1, file.lastLine + 1, file.reason)
          )
        end
        vim.list_extend(lines, { "", "Tools: " .. table.concat(told.tools, ", ") })
        for _, uri in ipairs(told.instructionsFrom) do
          table.insert(lines, "Instructions: " .. vim.fn.fnamemodify(vim.uri_to_fname(uri), ":."))
        end
        scratch("context", lines)
      end)
    end,
  },
  status = {
    about = "says how the server and the engine are",
    run = function()
      server.request("glm/status", vim.empty_dict(), function(told)
        local engine = told.engine
        local first = ("%s · %s%s"):format(
          engine.model ~= "" and engine.model or "GLM",
          engine.state,
          told.message ~= "" and " · " .. told.message or ""
        )
        local kept = ({ tokens = "token by token", messages = "as messages", none = "not at all" })[told.exactness]
        local lines = {
          "# " .. first,
          "",
          "Thinking is kept " .. (kept or told.exactness),
          ("%d turns run"):format(told.turns or 0),
        }
        for name, version in vim.spairs(told.versions) do
          table.insert(lines, ("- %s %s"):format(name, version))
        end
        scratch("status", lines)
      end)
    end,
  },
  engine = {
    about = "says how the engine is; `start` and `stop` do that",
    run = function(given)
      local cmd, why = server.find()
      if not cmd then
        vim.notify(why or "", vim.log.levels.ERROR)
        return
      end
      local words = given.words ~= "" and given.words or "status"
      vim.cmd("botright 15split | enew")
      vim.fn.jobstart(vim.list_extend({ cmd[1], "engine" }, vim.split(words, "%s+")), { term = true })
    end,
    complete = function()
      return { "status", "start", "stop", "plan", "logs" }
    end,
  },
  install = {
    about = "installs the server into Neovim's data folder",
    run = function()
      require("glm_lsp.install").run()
    end,
  },
}

---@param given { args: string, range: integer, line1: integer, line2: integer, bang: boolean }
function M.run(given)
  local name, rest = given.args:match("^(%S+)%s*(.*)$")
  if not name then
    name, rest = "chat", ""
  end
  local bare, mark = name:match("^(.-)(!?)$")
  local command = M.COMMANDS[bare]
  if command then
    name = bare
  else
    -- Anything else is what the person wants to say.
    name, command, rest = "ask", M.COMMANDS.ask, given.args
  end
  ---@type glm_lsp.Given
  local parsed = {
    words = vim.trim(rest),
    first = given.range > 0 and given.line1 or nil,
    last = given.range > 0 and given.line2 or nil,
    bang = given.bang or mark == "!",
  }
  if command.repeats then
    -- The same table: words that the person is still asked for are repeated too.
    latest, latest_name = parsed, name
    M.arm()
  end
  command.run(parsed)
end

local arming = false

--- Has `.` repeat the last action: an operator of our own, run once over one character with nothing to do, is what
--- Neovim then remembers. The cursor, the marks and the jumps stay.
function M.arm()
  if vim.fn.mode() ~= "n" or vim.fn.getcmdwintype() ~= "" then
    return
  end
  local view = vim.fn.winsaveview()
  vim.go.operatorfunc = "v:lua.require'glm_lsp.commands'.operator"
  arming = true
  pcall(vim.cmd, "keepjumps lockmarks normal! g@l")
  arming = false
  vim.fn.winrestview(view)
end

--- What `.` calls.
function M.operator()
  if not arming then
    M.again()
  end
end

--- Runs the last action again, at the cursor, over as many lines as it was about.
function M.again()
  if not latest or not latest_name then
    vim.notify("GLM: nothing to repeat")
    return
  end
  local given = vim.deepcopy(latest)
  if given.first then
    local line = vim.api.nvim_win_get_cursor(0)[1]
    given.last = math.min(line + given.last - given.first, vim.api.nvim_buf_line_count(0))
    given.first = line
  end
  M.COMMANDS[latest_name].run(given)
end

---@param lead string
---@param line string
---@return string[]
function M.complete(lead, line)
  local name = line:match("Glm!?%s+(%S+)%s+[^%s]*$")
  local words
  if name then
    local command = M.COMMANDS[name]
    words = command and command.complete and command.complete() or {}
  else
    words = vim.tbl_keys(M.COMMANDS)
  end
  table.sort(words)
  return vim.tbl_filter(function(word)
    return vim.startswith(word, lead)
  end, words)
end

return M
