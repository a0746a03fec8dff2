-- Someone at a Neovim without a plug-in. A story is run with these functions at hand; what `tell` was given, and the
-- processes that Neovim had started, go to a file when it ends.
-- Never waits for a time: only until something is so, and not longer than PATIENCE.

local PATIENCE = 60000
local told = {}
local bars = { titles = {}, lines = {}, open = 0, ended = {} }
local choices = {}

--- Bars that say that the workspace is read, which on a busy machine takes long enough to be shown.
local reading = {}

vim.api.nvim_create_autocmd("LspProgress", {
  callback = function(event)
    local value, token = event.data.params.value, event.data.params.token
    if value.kind == "begin" and vim.startswith(value.title, "GLM: reading ") then
      reading[token] = true
    end
    if reading[token] then
      return
    end
    if value.kind == "begin" then
      bars.open = bars.open + 1
      table.insert(bars.titles, value.title)
    elseif value.kind == "end" then
      bars.open = bars.open - 1
      table.insert(bars.ended, value.message or "")
    end
    table.insert(bars.lines, value.message or "")
  end,
})

--- What is offered in every list that is shown, oldest first; `pick` says what is taken of the next one.
local shown = {}
vim.ui.select = function(items, options, done)
  local lines = vim.tbl_map(options.format_item or tostring, items)
  table.insert(shown, { prompt = options.prompt or "", lines = lines })
  local wanted = assert(table.remove(choices, 1), "nobody expected to be asked: " .. (options.prompt or ""))
  for number, line in ipairs(lines) do
    if line:find(wanted, 1, true) then
      return done(items[number], number)
    end
  end
  error(("%q is not among: %s"):format(wanted, table.concat(lines, ", ")))
end

local person = { bars = bars, shown = shown }

function person.tell(name, value)
  told[name] = value
end

function person.wait(what, so)
  if not vim.wait(PATIENCE, so, 5) then
    local said = vim.fn.execute("messages")
    error(("waited in vain until %s; lists: %s; bars: %s; messages: %s"):format(what, vim.inspect(shown), vim.inspect(bars), said))
  end
end

function person.pick(...)
  vim.list_extend(choices, { ... })
end

function person.client()
  return vim.lsp.get_clients({ name = "glm_lsp" })[1]
end

function person.ready()
  person.wait("the server is there", function()
    return person.client() ~= nil and person.client().initialized
  end)
end

--- Opens the menu on a line with the keys of Neovim itself, and takes the entry that holds these words.
function person.act(line, words)
  vim.api.nvim_win_set_cursor(0, { line, 4 })
  local before = #shown
  person.pick(words)
  vim.cmd.normal("gra")
  person.wait("the menu is there", function()
    return #shown > before
  end)
end

function person.text(buffer)
  return table.concat(vim.api.nvim_buf_get_lines(buffer or 0, 0, -1, false), "\n") .. "\n"
end

function person.said(words)
  return vim.fn.execute("messages"):find(words, 1, true) ~= nil
end

function person.idle()
  person.wait("the work has ended", function()
    return #bars.ended > 0 and bars.open == 0
  end)
end

--- Presses keys as a person would; `<Esc>` and its like are keys.
function person.keys(keys)
  vim.api.nvim_feedkeys(vim.keycode(keys), "tx", false)
end

--- The screen as it is, a line a row, without the spaces at the ends.
function person.screen()
  vim.cmd("redraw!")
  local rows = {}
  for row = 1, vim.o.lines do
    local cells = {}
    for column = 1, vim.o.columns do
      cells[column] = vim.fn.screenstring(row, column)
    end
    rows[row] = (table.concat(cells):gsub("%s+$", ""))
  end
  return table.concat(rows, "\n") .. "\n"
end

--- The screen with its colours: rows of runs of cells that look alike.
function person.cells()
  -- The first look has Neovim begin to keep what it needs to tell; what is drawn from then on can be looked at.
  pcall(vim.api.nvim__inspect_cell, 1, 0, 0)
  vim.cmd("redraw!")
  local rows = {}
  for row = 0, vim.o.lines - 1 do
    local runs = {}
    for column = 0, vim.o.columns - 1 do
      -- A cell that nothing was ever drawn in has no look.
      local drawn, cell = pcall(vim.api.nvim__inspect_cell, 1, row, column)
      cell = drawn and cell or { " ", {} }
      local look = cell[2]
      local last = runs[#runs]
      if last and vim.deep_equal(last.look, look) then
        last.text = last.text .. cell[1]
      else
        table.insert(runs, { text = cell[1], look = next(look) and look or vim.empty_dict() })
      end
    end
    table.insert(rows, runs)
  end
  local normal = vim.api.nvim_get_hl(0, { name = "Normal" })
  return { rows = rows, foreground = normal.fg, background = normal.bg }
end

--- How many turns have ended; and waits until one more has.
local ended = 0
vim.api.nvim_create_autocmd("User", {
  pattern = "GlmDone",
  callback = function()
    ended = ended + 1
  end,
})

function person.after_a_turn(begin)
  local before = ended
  begin()
  person.wait("the turn has ended", function()
    return ended > before
  end)
end

local story, result = assert(vim.env.STORY), assert(vim.env.RESULT)
_G.person = person
local ok, failure = xpcall(dofile, debug.traceback, story)
told.failure = not ok and failure or nil
told.shown, told.bars = shown, bars
told.messages = vim.fn.execute("messages")
told.processes = vim.api.nvim_get_proc_children(vim.fn.getpid())
vim.fn.writefile({ vim.json.encode(told) }, result)
vim.cmd("qall!")
