--- A proposal under review: what comes is in the buffer and marked, what goes stands above it as virtual lines.
--- Never saves a file, and never touches a line that the proposal does not.
local M = {}

local hunks = require("glm_lsp.hunks")
local options = require("glm_lsp.options")
local server = require("glm_lsp.server")
local words = require("glm_lsp.words")

local GROUP = vim.api.nvim_create_augroup("glm_lsp.review", { clear = true })

---@class glm_lsp.ReviewFile
---@field buffer integer
---@field uri string
---@field before integer The undo state before the review.
---@field after integer The undo state that we left; another one says that the person changed something since.
---@field mixed? boolean Whether the person changed something between our changes.
---@field created boolean
---@field hunks glm_lsp.ReviewHunk[]

---@class glm_lsp.Review
---@field proposal string
---@field title string
---@field turn string
---@field summary string
---@field files glm_lsp.ReviewFile[]
---@field left string[] Ids of hunks that wait for a word, such as files to be deleted.

---@type glm_lsp.Review?
local current = nil

---@type glm_lsp.Review?
local last = nil

--- What was proposed while something was under review, the oldest first.
---@type { proposal: string, turn: string, title: string }[]
local queue = {}

local BAR = "%{%v:lua.require'glm_lsp.review'.winbar()%}"

--- All hunks that wait, by file and line.
---@param review glm_lsp.Review
---@return glm_lsp.ReviewHunk[]
local function pending(review)
  local found = {}
  for _, file in ipairs(review.files) do
    local here = vim.tbl_filter(function(hunk)
      return hunk.state == "pending" and vim.api.nvim_buf_is_valid(hunk.buffer) and hunks.place(hunk) ~= nil
    end, file.hunks)
    table.sort(here, function(a, b)
      return hunks.place(a) < hunks.place(b)
    end)
    vim.list_extend(found, here)
  end
  return found
end

--- The hunk under the cursor, or the first one behind it in this buffer.
---@return glm_lsp.ReviewHunk? hunk
---@return integer? number Of how many.
---@return integer? total
local function here()
  if not current then
    return
  end
  local all = pending(current)
  local buffer, line = vim.api.nvim_get_current_buf(), vim.api.nvim_win_get_cursor(0)[1] - 1
  local best, number
  for index, hunk in ipairs(all) do
    if hunk.buffer == buffer then
      local first, length = hunks.place(hunk)
      if not best or first <= line then
        best, number = hunk, index
      end
      if line <= first + math.max(length - 1, 0) then
        break
      end
    end
  end
  return best, number, #all
end

--- Gives each window on a buffer under review our bar, and all others their own back.
local function bar()
  for _, window in ipairs(vim.api.nvim_list_wins()) do
    local where = { scope = "local", win = window }
    local before = vim.w[window].glm_review
    local buffer = vim.api.nvim_win_get_buf(window)
    local shown = current and vim.iter(current.files):any(function(file)
      return file.buffer == buffer
    end)
    if shown and not before then
      vim.w[window].glm_review = { winbar = vim.api.nvim_get_option_value("winbar", where) }
      vim.api.nvim_set_option_value("winbar", BAR, where)
    elseif before and not shown then
      vim.api.nvim_set_option_value("winbar", before.winbar, where)
      vim.w[window].glm_review = nil
    elseif not shown and vim.api.nvim_get_option_value("winbar", where) == BAR then
      -- A window that was split off one of ours.
      vim.api.nvim_set_option_value("winbar", "", where)
    end
  end
end

--- What stands above a window under review.
---@return string
function M.winbar()
  local hunk, number, total = here()
  if not current then
    return ""
  end
  local keys = options.get().review.keys
  local parts = { "GLM", current.title:sub(1, 60) }
  table.insert(parts, hunk and ("hunk %d of %d"):format(number, total) or ("%d elsewhere"):format(total or 0))
  local told = {}
  for _, key in ipairs({ { "accept", "accept" }, { "reject", "reject" }, { "next", "next" }, { "why", "why" } }) do
    local bound = keys[key[1]]
    if bound then
      table.insert(told, ("%s %s"):format(bound, key[2]))
    end
  end
  -- Where there is no room, it is the keys that are cut.
  return (table.concat(parts, " · "):gsub("%%", "%%%%")) .. "%< · " .. table.concat(told, "  ")
end

local function map(buffer)
  for name, key in pairs(options.get().review.keys) do
    if key and vim.fn.maparg(key, "n", false, true).buffer ~= 1 then
      vim.keymap.set("n", key, function()
        M[name]()
      end, { buffer = buffer, desc = "GLM: " .. name:gsub("_", " ") .. " hunk" })
    end
  end
end

local function unmap(buffer)
  for _, key in pairs(options.get().review.keys) do
    local bound = key and vim.api.nvim_buf_is_valid(buffer) and vim.fn.maparg(key, "n", false, true)
    if bound and type(bound.desc) == "string" and bound.desc:find("^GLM: ") then
      pcall(vim.keymap.del, "n", key, { buffer = buffer })
    end
  end
end

--- Ends the review where nothing waits any more.
local function finish()
  if not current or #pending(current) > 0 or #current.left > 0 then
    bar()
    return
  end
  local review = current
  current, last = nil, review
  local rejected, accepted = {}, 0
  for _, file in ipairs(review.files) do
    unmap(file.buffer)
    for _, hunk in ipairs(file.hunks) do
      if hunk.state == "rejected" then
        table.insert(rejected, hunk.id)
      else
        accepted = accepted + 1
      end
    end
  end
  local decision = #rejected == 0 and "accepted" or accepted == 0 and "rejected" or "partial"
  server.notify("glm/feedback", { decision = decision, proposalId = review.proposal, hunks = rejected })
  bar()
  local more = #queue > 0 and ("; `:Glm review` shows the next of %d"):format(#queue) or ""
  vim.notify(("GLM: %d taken over, %d left out%s"):format(accepted, #rejected, more))
end

--- Fills the quickfix list, an entry a hunk.
function M.list()
  if not current then
    return
  end
  local items = {}
  for _, hunk in ipairs(pending(current)) do
    local first = hunks.place(hunk)
    local text = hunk.new[1] or ("− " .. (hunk.old[1] or ""))
    table.insert(items, {
      bufnr = hunk.buffer,
      lnum = math.min(first + 1, vim.api.nvim_buf_line_count(hunk.buffer)),
      text = vim.trim(text),
    })
  end
  vim.fn.setqflist({}, " ", { title = "GLM: " .. current.title, items = items })
end

--- Takes the changes of a proposal over into the buffers, marked.
---@param review glm_lsp.Review
---@param told glm_lsp.ProposalResult
---@param edit table
local function show(review, told, edit)
  local before = {}
  for _, file in ipairs(told.files) do
    local name = vim.uri_to_fname(file.uri)
    local buffer = vim.fn.bufadd(name)
    if file.kind ~= "delete" then
      vim.fn.bufload(buffer)
      vim.bo[buffer].buflisted = true
      hunks.undo_step(buffer)
      local lines = file.kind == "create" and {} or hunks.lines_of(buffer)
      table.insert(before, { file = file, buffer = buffer, lines = lines, state = hunks.undo_state(buffer) })
    end
  end
  local client = server.client()
  local ok, why = pcall(vim.lsp.util.apply_workspace_edit, edit, client and client.offset_encoding or "utf-16")
  if not ok then
    vim.notify("GLM: " .. tostring(why), vim.log.levels.ERROR)
    return
  end
  for _, one in ipairs(before) do
    local new = hunks.lines_of(one.buffer)
    -- The marks of an earlier review are of no use any more.
    hunks.clear(one.buffer)
    ---@type glm_lsp.ReviewFile
    local file = {
      buffer = one.buffer,
      uri = one.file.uri,
      before = one.state,
      after = hunks.undo_state(one.buffer),
      created = one.file.kind == "create",
      hunks = {},
    }
    local old = one.lines
    local joined = function(lines)
      return #lines == 0 and "" or table.concat(lines, "\n") .. "\n"
    end
    for index, found in
      ipairs(
        vim.diff(joined(old), joined(new), { result_type = "indices", algorithm = "histogram" }) --[[@as integer[][] ]]
      )
    do
      local os, oc, ns, nc = unpack(found)
      local named = one.file.hunks[index]
      local hunk = {
        buffer = one.buffer,
        id = named and #one.file.hunks == #file.hunks + 1 and named.hunkId or (named and named.hunkId) or "",
        old = vim.list_slice(old, os, os + oc - 1),
        new = vim.list_slice(new, ns, ns + nc - 1),
        state = "pending",
      }
      if oc == 0 then
        hunk.old = {}
      end
      if nc == 0 then
        hunk.new = {}
      end
      -- Where nothing comes, the place is behind line `ns`.
      hunks.draw(hunk, nc == 0 and ns or ns - 1)
      table.insert(file.hunks, hunk)
    end
    table.insert(review.files, file)
    map(one.buffer)
  end
  current = review
  if #review.files > 1 and options.get().review.list then
    M.list()
  end
  bar()
  vim.api.nvim_create_autocmd({ "BufWinEnter", "WinEnter", "CursorMoved" }, {
    group = GROUP,
    callback = function(event)
      if not current then
        return true
      end
      if event.event ~= "CursorMoved" then
        bar()
      end
    end,
  })
  local buffer = vim.api.nvim_get_current_buf()
  local mine = vim.tbl_filter(function(hunk)
    return hunk.buffer == buffer
  end, pending(review))[1]
  if mine and vim.fn.mode() == "n" then
    vim.api.nvim_win_set_cursor(0, { math.min(hunks.place(mine) + 1, vim.api.nvim_buf_line_count(0)), 0 })
  end
  finish()
end

--- Asks about the files that would be deleted, which no buffer can show.
---@param review glm_lsp.Review
---@param deleted glm_lsp.ProposalFile[]
local function ask_deletions(review, deleted)
  if #deleted == 0 then
    return
  end
  local names = vim.tbl_map(function(file)
    return vim.fn.fnamemodify(vim.uri_to_fname(file.uri), ":.")
  end, deleted)
  vim.ui.select({ "Delete", "Keep" }, { prompt = "GLM would delete " .. table.concat(names, ", ") }, function(answer)
    local decisions = {}
    for _, file in ipairs(deleted) do
      for _, hunk in ipairs(file.hunks) do
        table.insert(decisions, { hunkId = hunk.hunkId, accept = answer == "Delete" })
      end
    end
    server.request("glm/proposal/resolve", { proposalId = review.proposal, decisions = decisions })
    review.left = {}
    finish()
  end)
end

--- A turn has made a proposal.
---@param params glm_lsp.TurnEvent
function M.proposed(params)
  local event = params.event
  local turn = require("glm_lsp.events").turns[params.turnId]
  local title = turn and vim.trim(turn.instruction) ~= "" and turn.instruction or event.summary
  title = title:gsub("%s+", " ")
  if current then
    table.insert(queue, { proposal = event.proposalId, turn = params.turnId, title = title })
    vim.notify(
      ("GLM: another proposal waits: %s. `:Glm review` shows it after this one."):format(words.size(event.files))
    )
    return
  end
  M.open(event.proposalId, params.turnId, title)
end

--- Opens what was proposed while something else was under review.
---@return boolean # Whether there was something.
function M.open_next()
  local one = not current and table.remove(queue, 1)
  if one then
    M.open(one.proposal, one.turn, one.title)
  end
  return one ~= nil and one ~= false
end

--- Opens the review of a proposal; of the latest one without an id.
---@param proposal string
---@param turn? string
---@param title? string
function M.open(proposal, turn, title)
  server.request("glm/proposal/get", { proposalId = proposal }, function(told)
    if told.state ~= "pending" and told.state ~= "partial" then
      vim.notify("GLM: this proposal is " .. told.state)
      return
    end
    local wanted, deleted, stale = {}, {}, 0
    for _, file in ipairs(told.files) do
      if file.kind == "delete" then
        table.insert(deleted, file)
      else
        for _, hunk in ipairs(file.hunks) do
          if hunk.state == "pending" then
            table.insert(wanted, { hunkId = hunk.hunkId, accept = true })
          elseif hunk.state == "stale" then
            stale = stale + 1
          end
        end
      end
    end
    if stale > 0 then
      vim.notify(
        ("GLM: %d moved: the code there changed since. `:Glm diff` shows it."):format(stale),
        vim.log.levels.WARN
      )
    end
    ---@type glm_lsp.Review
    local review = {
      proposal = told.proposalId,
      turn = turn or told.turnId,
      title = title and title ~= "" and title or told.summary,
      summary = told.summary,
      files = {},
      left = vim.tbl_map(function(file)
        return file.uri
      end, deleted),
    }
    local given = { proposalId = told.proposalId, decisions = wanted, apply = false }
    server.request("glm/proposal/resolve", given, function(done)
      if done.edit then
        show(review, told, done.edit)
      end
      if current == nil and #deleted > 0 then
        current = review
      end
      ask_deletions(review, deleted)
    end)
  end)
end

--- Goes to a hunk.
local function go(hunk)
  if not hunk then
    return
  end
  if hunk.buffer ~= vim.api.nvim_get_current_buf() then
    local window = vim.fn.bufwinid(hunk.buffer)
    if window > 0 then
      vim.api.nvim_set_current_win(window)
    else
      vim.cmd.buffer(hunk.buffer)
    end
  end
  local first = hunks.place(hunk)
  vim.cmd("normal! m'")
  vim.api.nvim_win_set_cursor(0, { math.min(first + 1, vim.api.nvim_buf_line_count(0)), 0 })
  bar()
end

local function step(by)
  if not current then
    vim.notify("GLM: nothing is under review")
    return
  end
  local all = pending(current)
  local _, number = here()
  if #all == 0 then
    return
  end
  if not number then
    return go(all[1])
  end
  local first = hunks.place(all[number])
  local line = vim.api.nvim_win_get_cursor(0)[1] - 1
  if by > 0 and line < first then
    return go(all[number])
  end
  go(all[(number - 1 + by) % #all + 1])
end

function M.next()
  step(1)
end

function M.previous()
  step(-1)
end

---@param hunk glm_lsp.ReviewHunk
---@return glm_lsp.ReviewFile
local function file_of(hunk)
  return vim.iter(assert(current).files):find(function(file)
    return file.buffer == hunk.buffer
  end)
end

---@param hunk glm_lsp.ReviewHunk
---@param state "accepted"|"rejected"
local function decide(hunk, state)
  hunk.state = state
  if state == "accepted" then
    hunks.hide(hunk)
    return
  end
  local file = file_of(hunk)
  file.mixed = file.mixed or hunks.undo_state(hunk.buffer) ~= file.after
  vim.api.nvim_buf_call(hunk.buffer, function()
    if not file.mixed then
      pcall(vim.cmd.undojoin)
    end
    hunks.put_back(hunk)
  end)
  file.after = hunks.undo_state(hunk.buffer)
end

---@param state "accepted"|"rejected"
local function decide_here(state)
  local hunk, number = here()
  if not hunk or not current then
    vim.notify("GLM: no hunk here")
    return
  end
  decide(hunk, state)
  local left = pending(current)
  finish()
  if #left > 0 then
    go(left[math.min(number or 1, #left)])
  end
end

local function decide_all(state)
  if not current then
    vim.notify("GLM: nothing is under review")
    return
  end
  for _, hunk in ipairs(pending(current)) do
    decide(hunk, state)
  end
  finish()
end

function M.accept()
  decide_here("accepted")
end

function M.reject()
  decide_here("rejected")
end

function M.accept_all()
  decide_all("accepted")
end

function M.reject_all()
  decide_all("rejected")
end

--- Says why: the model's own summary of what it did.
function M.why()
  if not current then
    return
  end
  local text = current.summary ~= "" and current.summary or current.title
  vim.lsp.util.open_floating_preview(vim.split(text, "\n"), "markdown", { border = "rounded", focus_id = "glm_why" })
end

--- Takes a file's hunks back. What the person changed since stays, and so do the hunks in which they did.
---@param file glm_lsp.ReviewFile
---@return integer # How many stay.
local function take_back(file)
  local stay = 0
  hunks.undo_step(file.buffer)
  for index = #file.hunks, 1, -1 do
    local hunk = file.hunks[index]
    local first, length = hunks.place(hunk)
    if hunk.state ~= "rejected" and first then
      if vim.deep_equal(vim.api.nvim_buf_get_lines(file.buffer, first, first + length, false), hunk.new) then
        hunks.put_back(hunk)
      else
        stay = stay + 1
      end
    end
  end
  return stay
end

--- Takes the last review back, in every buffer, as one step.
---@return boolean # Whether there was one.
function M.undo()
  local review = current or last
  if not review then
    return false
  end
  local stay = 0
  for _, file in ipairs(review.files) do
    if vim.api.nvim_buf_is_valid(file.buffer) then
      vim.api.nvim_buf_call(file.buffer, function()
        if file.mixed or hunks.undo_state(file.buffer) ~= file.after then
          stay = stay + take_back(file)
        else
          vim.cmd(("silent undo %d"):format(file.before))
        end
      end)
      hunks.clear(file.buffer)
      unmap(file.buffer)
    end
  end
  current, last = nil, nil
  bar()
  if stay > 0 then
    vim.notify(("GLM: %d left as they are: you changed them since"):format(stay))
  end
  return true
end

--- Whether something is under review, and how many hunks wait.
---@return integer?
function M.waiting()
  return current and #pending(current)
end

--- The buffers before and after, side by side, in a tab of their own.
function M.diff()
  local review = current or last
  if not review then
    server.command("glm.showProposal", {})
    return
  end
  for _, file in ipairs(review.files) do
    if vim.api.nvim_buf_is_valid(file.buffer) then
      vim.cmd.tabnew()
      local old = vim.api.nvim_create_buf(false, true)
      local new = hunks.lines_of(file.buffer)
      for index = #file.hunks, 1, -1 do
        local hunk = file.hunks[index]
        local first, length = hunks.place(hunk)
        if hunk.state ~= "rejected" and first then
          local head = vim.list_slice(new, 1, first)
          vim.list_extend(head, hunk.old)
          new = vim.list_extend(head, vim.list_slice(new, first + length + 1))
        end
      end
      vim.api.nvim_buf_set_lines(old, 0, -1, false, new)
      vim.bo[old].filetype, vim.bo[old].modifiable, vim.bo[old].bufhidden = vim.bo[file.buffer].filetype, false, "wipe"
      vim.api.nvim_win_set_buf(0, old)
      vim.cmd.diffthis()
      vim.cmd("rightbelow vsplit")
      vim.api.nvim_win_set_buf(0, file.buffer)
      vim.cmd.diffthis()
    end
  end
end

return M
