--- What a person has set in `vim.g.glm_lsp`, over the defaults.
--- Never reads anything else: settings of the server itself go into `vim.lsp.config("glm_lsp", { settings = … })`.
local M = {}

local defined = require("glm_lsp.defaults")

--- The options as they are now.
---@return glm_lsp.Options
function M.get()
  local given = vim.g.glm_lsp
  return vim.tbl_deep_extend("force", defined.DEFAULTS, type(given) == "table" and given or {})
end

--- Whether a value is of a type as `options.toml` writes it.
---@param value any
---@param kind string
local function fits(value, kind)
  for one in vim.gsplit(kind, "|", { plain = true }) do
    local word = one:match('^"(.*)"$')
    if word and value == word or tostring(value) == one and type(value) == "boolean" then
      return true
    elseif
      one == "string[]"
      and vim.islist(value)
      and vim.iter(value):all(function(part)
        return type(part) == "string"
      end)
    then
      return true
    elseif one == "integer" and type(value) == "number" and value % 1 == 0 or type(value) == one then
      return true
    end
  end
  return false
end

--- What is wrong with `vim.g.glm_lsp`, a sentence each.
---@return string[]
function M.faults()
  local given = vim.g.glm_lsp
  if given ~= nil and type(given) ~= "table" then
    return { ("`vim.g.glm_lsp` is a %s, and should be a table"):format(type(given)) }
  end
  local faults = {}
  local function look(values, where)
    for name, value in pairs(values) do
      local full = where .. name
      local kind = defined.TYPES[full]
      local is_group = vim.tbl_get(defined.DEFAULTS, unpack(vim.split(full, ".", { plain = true }))) ~= nil
      if kind and not fits(value, kind) then
        table.insert(faults, ("`%s` is %s, and should be %s"):format(full, vim.inspect(value), kind))
      elseif not kind and not is_group then
        table.insert(faults, ("there is no option `%s`"):format(full))
      elseif not kind and type(value) == "table" then
        look(value, full .. ".")
      elseif not kind then
        table.insert(faults, ("`%s` is a %s, and should be a table"):format(full, type(value)))
      end
    end
  end
  look(given or {}, "")
  table.sort(faults)
  return faults
end

return M
