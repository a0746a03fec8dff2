--- What a person names in their words: `@file`, `@symbol`, `@diagnostics`, `@git`, `@selection`.
--- Never sends anything: it says what the words mean.
local M = {}

local KINDS = {
  { word = "@diagnostics", menu = "problems of the file last looked at" },
  { word = "@git", menu = "uncommitted changes" },
  { word = "@selection", menu = "what was selected last" },
}

--- The buffer of code that the person looked at last.
---@return integer?
function M.last_code()
  local best, when = nil, -1
  for _, info in ipairs(vim.fn.getbufinfo({ buflisted = 1 })) do
    if vim.bo[info.bufnr].buftype == "" and info.name ~= "" and info.lastused >= when then
      local alternate = info.bufnr == vim.fn.bufnr("#")
      if info.lastused > when or alternate then
        best, when = info.bufnr, info.lastused
      end
    end
  end
  return best
end

---@param root string
---@param lead string
---@return string[]
local function files(root, lead)
  local listed = vim.system({ "git", "-C", root, "ls-files", "-co", "--exclude-standard" }, { text = true }):wait(2000)
  local paths = listed.code == 0 and vim.split(vim.trim(listed.stdout), "\n")
    or vim.fn.globpath(root, "**/*" .. lead .. "*", true, true)
  if lead == "" then
    return vim.list_slice(paths, 1, 50)
  end
  return vim.fn.matchfuzzy(paths, lead, { limit = 50 })
end

--- What is called so or begins so, as the language servers of a buffer tell; empty where none can.
---@param buffer integer
---@param name string
---@return lsp.WorkspaceSymbol[]
local function symbols(buffer, name)
  local found = {}
  for _, client in ipairs(vim.lsp.get_clients({ bufnr = buffer, method = "workspace/symbol" })) do
    local told = client:request_sync("workspace/symbol", { query = name }, 500, buffer)
    vim.list_extend(found, told and type(told.result) == "table" and told.result or {})
  end
  return found
end

--- For `omnifunc`: completes what begins with `@`.
---@param findstart integer
---@param base string
---@return integer|table[]
function M.complete(findstart, base)
  if findstart == 1 then
    local column = vim.api.nvim_win_get_cursor(0)[2]
    local start = vim.api.nvim_get_current_line():sub(1, column):find("@[%w_./#-]*$")
    return start and start - 1 or -3
  end
  local found = {}
  for _, kind in ipairs(KINDS) do
    if vim.startswith(kind.word, base) then
      table.insert(found, { word = kind.word, menu = kind.menu })
    end
  end
  local root = vim.fs.root(M.last_code() or 0, ".git") or vim.fn.getcwd()
  for _, path in ipairs(files(root, base:sub(2))) do
    table.insert(found, { word = "@" .. path, menu = "file" })
  end
  local buffer = M.last_code()
  if buffer and #base > 1 then
    local seen = {}
    for _, one in ipairs(symbols(buffer, base:sub(2))) do
      if not seen[one.name] and vim.startswith(one.name, base:sub(2)) then
        seen[one.name] = true
        local path = vim.fn.fnamemodify(vim.uri_to_fname(one.location.uri), ":.")
        table.insert(found, { word = "@" .. one.name, menu = "symbol in " .. path })
      end
    end
    for name in table.concat(vim.api.nvim_buf_get_lines(buffer, 0, 5000, false), "\n"):gmatch("[%a_][%w_]+") do
      if not seen[name] and #seen < 20 and vim.startswith(name, base:sub(2)) then
        seen[name] = true
        table.insert(found, { word = "@" .. name, menu = "name" })
      end
    end
  end
  return found
end

---@class glm_lsp.Meant What words name.
---@field words string The words for the model.
---@field mentions string[] Addresses of files.
---@field buffer? integer The document the ask is about.
---@field range? lsp.Range

--- Makes of the words what the server takes; files become mentions, the others are told in words.
---@param text string
---@return glm_lsp.Meant
function M.meant(text)
  ---@type glm_lsp.Meant
  local meant = { words = text, mentions = {} }
  local code = M.last_code()
  local root = vim.fs.root(code or 0, ".git") or vim.fn.getcwd()
  local added = {}
  for word in text:gmatch("@([%w_./-]+)") do
    local path = vim.fs.joinpath(root, (word:gsub("[.]$", "")))
    if word == "selection" and code then
      local first, last = unpack(vim.api.nvim_buf_get_mark(code, "<")), unpack(vim.api.nvim_buf_get_mark(code, ">"))
      if first > 0 then
        meant.buffer, meant.range = code, require("glm_lsp.server").lines(first, last)
      end
    elseif word == "diagnostics" and code then
      meant.buffer = meant.buffer or code
      for _, one in ipairs(vim.diagnostic.get(code)) do
        local name = vim.fn.fnamemodify(vim.api.nvim_buf_get_name(code), ":.")
        table.insert(added, ("- %s, line %d: %s"):format(name, one.lnum + 1, one.message))
      end
    elseif word == "git" then
      local diff = vim.system({ "git", "-C", root, "diff", "HEAD" }, { text = true }):wait(5000)
      table.insert(added, ("The uncommitted changes:\n%s"):format((diff.stdout or ""):sub(1, 20000)))
    elseif vim.uv.fs_stat(path) then
      table.insert(meant.mentions, vim.uri_from_fname(path))
    elseif code then
      for _, one in ipairs(symbols(code, word)) do
        local uri = one.location.uri
        if one.name == word and not vim.list_contains(meant.mentions, uri) then
          table.insert(meant.mentions, uri)
          local name = vim.fn.fnamemodify(vim.uri_to_fname(uri), ":.")
          local line = one.location.range and (", line %d"):format(one.location.range.start.line + 1) or ""
          table.insert(added, ("- `%s` is in %s%s"):format(word, name, line))
        end
      end
    end
  end
  if #added > 0 then
    meant.words = text .. "\n\n" .. table.concat(added, "\n")
  end
  return meant
end

return M
