--- The connection to glm-lsp: where the server is, how it is started, how it is asked.
--- Never draws; whoever asks shows the answer.
local M = {}

local options = require("glm_lsp.options")

M.NAME = "glm_lsp"

--- Where `:Glm install` puts the server.
---@return string
function M.home()
  return vim.fs.joinpath(vim.fn.stdpath("data"), "glm-lsp")
end

--- The clone of the whole project that the plug-in is part of; nil where it stands alone.
---@return string?
function M.clone()
  return vim.fs.root(vim.uv.fs_realpath(debug.getinfo(1, "S").source:sub(2)) or "", "pyproject.toml")
end

--- The command that starts the server; nil where there is none, and what to do about that.
---@return string[]? cmd
---@return string? why
function M.find()
  local opts = options.get()
  local cmd = opts.cmd
  if not cmd then
    local places = { "glm-lsp", vim.fs.joinpath(M.home(), "bin", "glm-lsp") }
    local clone = M.clone()
    if clone then
      table.insert(places, vim.fs.joinpath(clone, ".venv", "bin", "glm-lsp"))
    end
    for _, candidate in ipairs(places) do
      if vim.fn.executable(candidate) == 1 then
        cmd = { candidate, "--stdio" }
        break
      end
    end
  end
  if not cmd then
    return nil, "glm-lsp is not installed: `:Glm install`, or put it on the PATH"
  end
  if vim.fn.executable(cmd[1]) ~= 1 then
    return nil, ("%s cannot be run: see `cmd` in `vim.g.glm_lsp`"):format(cmd[1])
  end
  if opts.log then
    cmd = vim.list_extend(vim.list_slice(cmd), { "--record", opts.log })
  end
  return cmd
end

--- Whether it was said that there is no server: once is enough where nobody asked for it.
local said_missing = false

--- What `vim.lsp.enable("glm_lsp")` uses.
---@return vim.lsp.Config
function M.config()
  local events = function(name)
    return function(...)
      return require("glm_lsp.events")[name](...)
    end
  end
  return {
    cmd = function(dispatchers, config)
      local cmd, why = M.find()
      if not cmd then
        if not said_missing then
          said_missing = true
          vim.schedule(function()
            vim.notify(why or "", vim.log.levels.ERROR)
          end)
        end
        error(why, 0)
      end
      return vim.lsp.rpc.start(cmd, dispatchers, { cwd = config.root_dir })
    end,
    root_markers = { ".glm-lsp.toml", ".git" },
    workspace_required = false,
    capabilities = {
      experimental = { glm = { protocol = 1, events = true, permission = true, question = true, coalesceMs = 40 } },
    },
    settings = { glm = vim.empty_dict() },
    handlers = {
      ["glm/turn/event"] = events("turn_event"),
      ["glm/status/didChange"] = events("status"),
      ["glm/permission"] = events("permission"),
      ["glm/question"] = events("question"),
    },
    on_exit = vim.schedule_wrap(function(code, signal, id)
      require("glm_lsp.events").gone(code, signal, id)
    end),
  }
end

--- The client of a buffer; of any other buffer where it has none.
---@param buffer? integer
---@return vim.lsp.Client?
function M.client(buffer)
  return vim.lsp.get_clients({ name = M.NAME, bufnr = buffer or 0 })[1] or vim.lsp.get_clients({ name = M.NAME })[1]
end

--- The client; started for the folder one is in where none runs. Nil, and the person told why, where it cannot be.
---@return vim.lsp.Client?
function M.ready()
  local client = M.client()
  if not client then
    local cmd, why = M.find()
    if not cmd then
      require("glm_lsp.install").offer(why or "")
      return nil
    end
    local config = vim.lsp.config[M.NAME] or M.config()
    config =
      vim.tbl_extend("force", { root_dir = vim.fs.root(0, config.root_markers or {}) or vim.fn.getcwd() }, config)
    config.name = M.NAME
    local ok, id = pcall(vim.lsp.start, config, { attach = false })
    client = ok and id and vim.lsp.get_client_by_id(id) or nil
  end
  if not client then
    return nil
  end
  vim.wait(10000, function()
    return client.initialized or client:is_stopped()
  end, 10)
  if not client.initialized then
    vim.notify("glm-lsp did not start: see `:checkhealth glm_lsp`", vim.log.levels.ERROR)
    return nil
  end
  return client
end

--- Asks the server; `done(result)` is called where it answered, and the person is told where it refused.
---@param method string
---@param params table
---@param done? fun(result: any)
---@param failed? fun(error: table)
---@return vim.lsp.Client? client
---@return integer? request
function M.request(method, params, done, failed)
  local client = M.ready()
  if not client then
    return
  end
  local _, id = client:request(method, params, function(err, result)
    if err then
      if failed then
        failed(err)
      elseif err.code ~= -32800 then
        local hint = type(err.data) == "table" and err.data.hint or ""
        vim.notify(vim.trim(("GLM: %s %s"):format(err.message, hint)), vim.log.levels.WARN)
      end
    elseif done then
      done(result)
    end
  end)
  return client, id
end

--- Tells the server something that it does not answer.
---@param method string
---@param params table
function M.notify(method, params)
  local client = M.client()
  if client then
    client:notify(method, params)
  end
end

--- Runs a command of the server; it answers at once and works on.
---@param command string
---@param given table
---@param done? fun(result: any)
function M.command(command, given, done)
  if next(given) == nil then
    given = vim.empty_dict()
  end
  M.request("workspace/executeCommand", { command = command, arguments = { given } }, done)
end

--- The document of a buffer, as the protocol names it; nil for one without a file.
---@param buffer integer
---@return string?
function M.uri(buffer)
  local name = vim.api.nvim_buf_get_name(buffer)
  return name ~= "" and vim.bo[buffer].buftype == "" and vim.uri_from_bufnr(buffer) or nil
end

--- Lines as a range of the protocol: whole, the last one's end included.
---@param first integer From 1.
---@param last integer
---@return lsp.Range
function M.lines(first, last)
  return { start = { line = first - 1, character = 0 }, ["end"] = { line = last, character = 0 } }
end

return M
