"""The README's section for Neovim, followed word by word in an empty home.

Never helps: nothing but what the section says is typed, and no path leads to the server.
"""

from __future__ import annotations

import json
import os
import re
import subprocess

import pytest
from neovim.plugged import DECIMALS, HERE, MONEY, ROOT, Plugged, decimals, plugged
from test_real_neovim import PROGRAMS


@pytest.fixture
def neovim(tmp_path) -> Plugged:
    return plugged(tmp_path)


def section() -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"^### Neovim\n(.*?)^##", text, re.MULTILINE | re.DOTALL)
    assert found, "the README has a section for Neovim"
    return found[1]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", section(), re.MULTILINE | re.DOTALL)


STORY = """
local typed = vim.json.decode(vim.env.TYPED)
local review = require("glm_lsp.review")
person.tell("health", "")
for _, line in ipairs(typed) do
  if line:find("^:checkhealth") then
    vim.cmd(line)
    person.tell("health", person.text())
    vim.cmd.close()
  elseif line:find("^:Glm refactor") then
    vim.cmd(line)
    person.wait("hunks are under review", function() return review.waiting() == 3 end)
    person.keys("ga")
    person.keys("]h")
    person.keys("gr")
    person.tell("left", review.waiting())
    person.keys("gA")
    person.tell("decided", person.text())
  elseif line:find("^:Glm undo") then
    vim.cmd("wincmd t")
    vim.cmd(line)
    person.tell("undone", person.text())
  else
    vim.cmd(line)
    local chat = require("glm_lsp.chat").of()
    person.wait("it is answered", function() return chat.turn == nil end)
    person.tell("answer", person.text())
  end
end
"""


def test_the_section_followed_word_by_word_works(neovim: Plugged) -> None:
    neovim.has("cart.py", MONEY)
    engine = neovim.person.script(
        {"calls": decimals()}, {"text": "Prices are Decimal."}, {"text": "It divides by zero."}
    )
    tmp = neovim.person.tmp
    (init,) = blocks("lua")
    configuration = tmp / "config" / "nvim" / "init.lua"
    configuration.parent.mkdir(parents=True)
    configuration.write_text(init.replace("/path/to/glm-lsp", str(ROOT)))
    (tmp / "story.lua").write_text(STORY)
    typed = [line for block in blocks("vim") for line in block.splitlines()]
    assert len(typed) >= 4
    environment = {
        **neovim.person.environment,
        "PATH": os.defpath,
        "HOME": str(tmp),
        "XDG_DATA_HOME": str(tmp / "data"),
        "XDG_STATE_HOME": str(tmp / "nvim-state"),
        "GLM_LSP_ENGINE_URL": engine,
        "STORY": str(tmp / "story.lua"),
        "RESULT": str(tmp / "result.json"),
        "TYPED": json.dumps(typed),
    }
    del environment["GLM_PLUGIN"]
    done = subprocess.run(
        [PROGRAMS / "nvim", "--headless", "-n", "cart.py", "-c", f"luafile {HERE / 'person.lua'}"],
        cwd=neovim.person.root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=200,
    )
    assert (tmp / "result.json").exists(), done.stderr
    told = json.loads((tmp / "result.json").read_text())
    assert "failure" not in told, told["failure"]
    assert "ERROR" not in told["health"]
    assert told["left"] == 1
    assert DECIMALS[0][1] in told["decided"]
    assert "It divides by zero." in told["answer"]
    assert told["undone"] == MONEY


def test_the_keys_of_the_section_are_the_defaults() -> None:
    keys = set(re.findall(r"`([gK\]\[][hHaArR]?)`", section()))
    assert keys == {"]h", "[h", "ga", "gr", "gA", "gR", "K"}


def test_the_pictures_of_the_section_are_there() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", section())
    assert len(pictures) == 2
    assert all((ROOT / picture).exists() for picture in pictures)
