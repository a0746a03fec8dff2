--- Edits while the model writes them, as virtual text in the buffers that show those files.
--- Never changes a buffer: what will be applied is in the proposal, and only there.
local M = {}

require("glm_lsp.highlights")

local SPACE = vim.api.nvim_create_namespace("glm_lsp.preview")

---@class glm_lsp.Growing One edit that grows.
---@field turn string
---@field buffer integer
---@field line integer Where it is in the buffer, from 0.
---@field removed string[]
---@field added string[]
---@field mark? integer

---@type table<string, glm_lsp.Growing>
local growing = {}

--- How many lines earlier edits of a turn added above a line, by the buffer: the buffer does not have those.
---@type table<string, table<integer, { line: integer, delta: integer }[]>>
local shifts = {}

---@param text string
---@param group string
---@param width integer
local function virtual(text, group, width)
  return { { text .. (" "):rep(math.max(0, width - vim.fn.strdisplaywidth(text))), group } }
end

--- A line as virtual text of a group that fills a window's width.
---@param lines string[]
---@param group string
---@param buffer integer
function M.virtual_lines(lines, group, buffer)
  local window = vim.fn.bufwinid(buffer)
  local width = window > 0 and vim.api.nvim_win_get_width(window) or 0
  local tab = (" "):rep(vim.bo[buffer].tabstop)
  return vim.tbl_map(function(line)
    return virtual(line:gsub("\t", tab):gsub("%c", "?"), group, width)
  end, lines)
end

---@param one glm_lsp.Growing
local function draw(one)
  if not vim.api.nvim_buf_is_loaded(one.buffer) then
    return
  end
  local last = vim.api.nvim_buf_line_count(one.buffer) - 1
  local line = math.min(one.line, last)
  local stop = math.min(line + #one.removed, last + 1)
  local options = { id = one.mark, priority = 200 }
  if #one.removed > 0 then
    options.end_row, options.hl_group, options.hl_eol = stop, "GlmRemoved", true
  end
  if #one.added > 0 then
    options.virt_lines = M.virtual_lines(one.added, "GlmAdded", one.buffer)
  end
  local at = #one.removed > 0 and stop - 1 or math.max(line - 1, 0)
  if #one.removed > 0 and #one.added > 0 then
    -- The lines that come stand behind the last one that goes.
    vim.api.nvim_buf_set_extmark(one.buffer, SPACE, line, 0, {
      id = (one.mark or 0) + 1000000,
      end_row = stop,
      hl_group = "GlmRemoved",
      hl_eol = true,
      priority = 200,
    })
    options.end_row, options.hl_group, options.hl_eol = nil, nil, nil
    one.mark = vim.api.nvim_buf_set_extmark(one.buffer, SPACE, at, 0, options)
  elseif #one.removed > 0 then
    one.mark = vim.api.nvim_buf_set_extmark(one.buffer, SPACE, line, 0, options)
  else
    options.virt_lines_above = one.line == 0
    one.mark = vim.api.nvim_buf_set_extmark(one.buffer, SPACE, at, 0, options)
  end
end

---@param params glm_lsp.TurnEvent
function M.hunk(params)
  local event = params.event
  local key = params.turnId .. event.callId
  if event.state == "opened" then
    local buffer = vim.fn.bufnr(vim.uri_to_fname(event.uri))
    if buffer < 0 or not vim.api.nvim_buf_is_loaded(buffer) then
      return
    end
    local line = event.range.start.line
    for _, shift in ipairs(vim.tbl_get(shifts, params.turnId, buffer) or {}) do
      if shift.line < line then
        line = line - shift.delta
      end
    end
    growing[key] = { turn = params.turnId, buffer = buffer, line = math.max(line, 0), removed = {}, added = {} }
  end
  local one = growing[key]
  if not one then
    return
  end
  if event.state == "grew" then
    vim.list_extend(one.removed, event.removed or {})
    vim.list_extend(one.added, event.added or {})
    draw(one)
  elseif event.state == "closed" then
    growing[key] = nil
    if event.ok then
      local of = shifts[params.turnId] or {}
      shifts[params.turnId] = of
      of[one.buffer] = of[one.buffer] or {}
      table.insert(of[one.buffer], { line = event.range.start.line, delta = #one.added - #one.removed })
    elseif one.mark then
      vim.api.nvim_buf_del_extmark(one.buffer, SPACE, one.mark)
      vim.api.nvim_buf_del_extmark(one.buffer, SPACE, one.mark + 1000000)
    end
  end
end

--- Takes away what a turn showed.
---@param turn string
function M.clear(turn)
  shifts[turn] = nil
  for key, one in pairs(growing) do
    if one.turn == turn then
      growing[key] = nil
    end
  end
  if next(growing) == nil then
    for _, buffer in ipairs(vim.api.nvim_list_bufs()) do
      if vim.api.nvim_buf_is_loaded(buffer) then
        vim.api.nvim_buf_clear_namespace(buffer, SPACE, 0, -1)
      end
    end
  end
end

return M
