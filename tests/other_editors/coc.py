"""coc.nvim in Neovim, with the settings of the page for Vim: one code action, its undo, and one question.

Run by `make test-editors COC=FOLDER`, where the folder is a coc.nvim that was built: the npm package of that name holds
its types only. Never a part of the default run.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from test_refactor import BETTER, CART, WORKS, Person  # noqa: E402 - the folder above is no package

PAGE = (HERE.parent.parent / "docs" / "editors" / "vim.md").read_text()
SETTINGS = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0]
VIMRC = re.findall(r"^```vim\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0]
PROGRAMS = Path(sys.executable).parent

STORY = """
local told = {}
local function text(buffer) return table.concat(vim.api.nvim_buf_get_lines(buffer, 0, -1, false), "\\n") .. "\\n" end
local function wait(what, so)
  assert(vim.wait(60000, so, 50), "waited in vain until " .. what .. ": " .. vim.fn.execute("messages"))
end
local function act()
  local here = vim.api.nvim_get_current_buf()
  wait("coc is there", function() return vim.g.coc_service_initialized == 1 end)
  wait("the server is there", function()
    return vim.iter(vim.fn.CocAction("services")):any(function(one) return one.id:find("glm") and one.state == "running" end)
  end)
  vim.api.nvim_win_set_cursor(0, { 2, 4 })
  local found = vim.iter(vim.fn.CocAction("codeActions", "cursor")):find(function(one)
    return one.title:find("Simplify")
  end)
  vim.fn.CocAction("doCodeAction", found)
  wait("the buffer has changed", function() return text(here):find("qty", 1, true) end)
  told.text = text(here)
  vim.cmd.undo()
  told.undone = text(here)
  vim.cmd("Glm What does it do?")
  wait("the answer is shown", function()
    return vim.iter(vim.api.nvim_list_bufs()):any(function(one) return text(one):find("It sums prices.", 1, true) end)
  end)
end
vim.api.nvim_create_autocmd("VimEnter", { callback = vim.schedule_wrap(function()
  local ok, why = xpcall(act, debug.traceback)
  told.failure = not ok and why or nil
  vim.fn.writefile({ vim.json.encode(told) }, vim.env.RESULT)
  vim.cmd("qall!")
end) })
"""


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path)


def test_a_code_action_an_undo_and_a_question(person: Person) -> None:
    tmp = person.tmp
    (tmp / "coc").mkdir()
    (tmp / "coc" / "coc-settings.json").write_text(SETTINGS)
    (tmp / "story.lua").write_text(STORY)
    (tmp / "page.vim").write_text(VIMRC)
    (tmp / "init.vim").write_text(
        f"let g:coc_config_home = '{tmp}/coc'\n"
        f"let g:coc_data_home = '{tmp}/coc-data'\n"
        f"let g:coc_node_path = '{PROGRAMS}/node'\n"
        f"set runtimepath+={os.environ['GLM_TEST_COC']}\n"
        f"source {tmp}/page.vim\nluafile {tmp}/story.lua\n"
    )
    environment = {
        **person.environment,
        "GLM_LSP_ENGINE_URL": person.script(*WORKS, {"when": "What does it do?", "text": "It sums prices."}),
        "HOME": str(tmp),
        "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
        "RESULT": str(tmp / "result.json"),
    }
    done = subprocess.run(
        [PROGRAMS / "nvim", "--headless", "-n", "-i", "NONE", "-u", str(tmp / "init.vim"), "cart.py"],
        cwd=person.root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=180,
    )
    assert (tmp / "result.json").exists(), done.stdout + done.stderr
    told = json.loads((tmp / "result.json").read_text())
    assert "failure" not in told, told["failure"]
    assert told["text"] == BETTER
    assert told["undone"] == CART
    assert person.read() == CART, "it is for the person to save it"
