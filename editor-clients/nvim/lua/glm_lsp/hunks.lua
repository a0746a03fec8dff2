--- One hunk in a buffer: how it is marked, where it is now, what stood there before.
--- Never knows what is decided of it: the review does.
local M = {}

require("glm_lsp.highlights")

local SPACE = vim.api.nvim_create_namespace("glm_lsp.review")

---@class glm_lsp.ReviewHunk
---@field buffer integer
---@field mark integer
---@field sign integer
---@field id string
---@field old string[] The lines that were there.
---@field new string[] The lines that are there now.
---@field behind? boolean Whether it stands behind the last line: something at the end that goes.
---@field state "pending"|"accepted"|"rejected"

function M.lines_of(buffer)
  return vim.api.nvim_buf_get_lines(buffer, 0, -1, false)
end

--- Has what comes be a step of its own to take back, also where the person is in the middle of typing.
---@param buffer integer
function M.undo_step(buffer)
  vim.api.nvim_buf_call(buffer, function()
    vim.cmd("let &l:undolevels = &l:undolevels")
  end)
end

---@param buffer integer
---@return integer
function M.undo_state(buffer)
  return vim.api.nvim_buf_call(buffer, function()
    return vim.fn.undotree().seq_cur
  end)
end

--- Where a hunk is now: its first line from 0, and how many lines it has.
---@param hunk glm_lsp.ReviewHunk
function M.place(hunk)
  local mark = vim.api.nvim_buf_get_extmark_by_id(hunk.buffer, SPACE, hunk.mark, { details = true })
  if #mark == 0 then
    return nil
  end
  local first = hunk.behind and mark[1] + 1 or mark[1]
  return first, #hunk.new == 0 and 0 or math.max((mark[3].end_row or first) - first, 0)
end

---@param hunk glm_lsp.ReviewHunk
---@param first integer
function M.draw(hunk, first)
  local count = vim.api.nvim_buf_line_count(hunk.buffer)
  local above = require("glm_lsp.preview").virtual_lines(hunk.old, "GlmRemoved", hunk.buffer)
  hunk.behind = first >= count
  local given = {
    virt_lines = #above > 0 and above or nil,
    virt_lines_above = not hunk.behind,
    right_gravity = false,
    priority = 200,
  }
  if #hunk.new > 0 then
    given.end_row = math.min(first + #hunk.new, count)
    given.hl_group, given.hl_eol, given.end_right_gravity = "GlmAdded", true, true
  end
  hunk.mark = vim.api.nvim_buf_set_extmark(hunk.buffer, SPACE, math.min(first, count - 1), 0, given)
  -- A sign on the mark itself would stand beside the line behind it too.
  hunk.sign = vim.api.nvim_buf_set_extmark(hunk.buffer, SPACE, math.min(first, count - 1), 0, {
    end_row = math.max(math.min(first + #hunk.new, count) - 1, first),
    sign_text = "▎",
    sign_hl_group = #hunk.new > 0 and "GlmAddedSign" or "GlmRemovedSign",
    strict = false,
  })
end

--- Has nothing of a hunk be seen any more; it is still known where it is.
---@param hunk glm_lsp.ReviewHunk
function M.hide(hunk)
  local first, length = M.place(hunk)
  vim.api.nvim_buf_del_extmark(hunk.buffer, SPACE, hunk.sign)
  vim.api.nvim_buf_set_extmark(hunk.buffer, SPACE, hunk.behind and first - 1 or first, 0, {
    id = hunk.mark,
    end_row = hunk.behind and first - 1 or first + length,
    right_gravity = false,
    end_right_gravity = true,
    strict = false,
  })
end

--- Puts back what stood where a hunk is.
---@param hunk glm_lsp.ReviewHunk
function M.put_back(hunk)
  local first, length = M.place(hunk)
  local whole = first == 0 and length >= vim.api.nvim_buf_line_count(hunk.buffer) and #hunk.old == 0
  vim.api.nvim_buf_set_lines(hunk.buffer, first, whole and -1 or first + length, false, hunk.old)
  vim.api.nvim_buf_del_extmark(hunk.buffer, SPACE, hunk.mark)
  vim.api.nvim_buf_del_extmark(hunk.buffer, SPACE, hunk.sign)
end

--- Forgets all hunks of a buffer.
---@param buffer integer
function M.clear(buffer)
  vim.api.nvim_buf_clear_namespace(buffer, SPACE, 0, -1)
end

return M
