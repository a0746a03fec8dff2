--- Installs the server into an environment of its own, where no PATH has it.
--- Never runs unasked.
local M = {}

local server = require("glm_lsp.server")

local function python()
  for _, name in ipairs({ "python3.13", "python3.12", "python3.11", "python3" }) do
    if vim.fn.executable(name) == 1 then
      local done = vim.system({ name, "-c", "import sys; sys.exit(sys.version_info < (3, 11))" }):wait(5000)
      if done.code == 0 then
        return name
      end
    end
  end
end

--- Says that there is no server to ask, and offers to install one where none was named.
---@param why string
function M.offer(why)
  if require("glm_lsp.options").get().cmd then
    vim.notify(why, vim.log.levels.ERROR)
    return
  end
  vim.ui.select({ "Install it", "Not now" }, { prompt = why .. "." }, function(answer)
    if answer == "Install it" then
      M.run()
    end
  end)
end

--- Installs, and starts the server when that is done.
---@param source? string What pip installs; the clone that the plug-in is part of, else the package of that name.
function M.run(source)
  local name = python()
  if not name then
    vim.notify("GLM: Python 3.11 or later is needed", vim.log.levels.ERROR)
    return
  end
  if not source then
    source = server.clone() or "glm-lsp"
  end
  local home = server.home()
  vim.notify("GLM: installing into " .. home)
  local function step(cmd, after)
    vim.system(
      cmd,
      { text = true },
      vim.schedule_wrap(function(done)
        if done.code ~= 0 then
          vim.notify("GLM: " .. vim.trim(done.stderr or ""):sub(-500), vim.log.levels.ERROR)
        else
          after()
        end
      end)
    )
  end
  step({ name, "-m", "venv", home }, function()
    step(
      { vim.fs.joinpath(home, "bin", "pip"), "install", "--quiet", "--disable-pip-version-check", source },
      function()
        vim.notify("GLM: installed")
        vim.lsp.enable(server.NAME)
        vim.cmd("silent! doautoall FileType")
      end
    )
  end)
end

return M
