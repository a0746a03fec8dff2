--- What a person can set in `vim.g.glm_lsp`, with its defaults.
--- Never reads anything else: settings of the server itself go into `vim.lsp.config("glm_lsp", { settings = … })`.
local M = {}

---@class glm_lsp.Options
---@field cmd? string[] The server and its arguments; without it `glm-lsp` is looked for.
---@field chat glm_lsp.ChatOptions
---@field review glm_lsp.ReviewOptions
---@field log? string A file to which the server records the connection, for a report of a fault.

---@class glm_lsp.ChatOptions
---@field position "right"|"left"|"below"|"tab"|"here" Where the chat opens.
---@field size integer Columns, or lines below.
---@field fold boolean Whether thinking is folded when it ends.

---@class glm_lsp.ReviewOptions
---@field keys table<string, string|false> Keys in a buffer under review; false for none.
---@field list boolean Whether the quickfix list is filled where several files change.

---@type glm_lsp.Options
local DEFAULTS = {
  chat = { position = "right", size = 80, fold = true },
  review = {
    keys = {
      next = "]h",
      previous = "[h",
      accept = "ga",
      reject = "gr",
      accept_all = "gA",
      reject_all = "gR",
      why = "K",
    },
    list = true,
  },
}

--- The options as they are now: `vim.g.glm_lsp` over the defaults.
---@return glm_lsp.Options
function M.get()
  local given = vim.g.glm_lsp
  return vim.tbl_deep_extend("force", DEFAULTS, type(given) == "table" and given or {})
end

--- What is wrong with `vim.g.glm_lsp`, a sentence each.
---@return string[]
function M.faults()
  local faults = {}
  local function look(given, known, where)
    for name, value in pairs(given) do
      local default = known[name]
      if where == "" and (name == "cmd" or name == "log") then
        local wanted = name == "cmd" and "table" or "string"
        if type(value) ~= wanted then
          table.insert(faults, ("`%s` is a %s, and should be a %s"):format(name, type(value), wanted))
        end
      elseif default == nil then
        table.insert(faults, ("there is no option `%s%s`"):format(where, name))
      elseif type(default) == "table" then
        if type(value) == "table" then
          look(value, default, where .. name .. ".")
        else
          table.insert(faults, ("`%s%s` is a %s, and should be a table"):format(where, name, type(value)))
        end
      elseif type(value) ~= type(default) and not (where == "review.keys." and value == false) then
        table.insert(faults, ("`%s%s` is a %s, and should be a %s"):format(where, name, type(value), type(default)))
      end
    end
  end
  local given = vim.g.glm_lsp
  if given ~= nil and type(given) ~= "table" then
    return { ("`vim.g.glm_lsp` is a %s, and should be a table"):format(type(given)) }
  end
  look(given or {}, DEFAULTS, "")
  table.sort(faults)
  return faults
end

return M
