"""Neovim itself, with the configuration of the documentation and no plug-in: its menu, its progress, its buffers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from engine.server import tool_call
from test_refactor import BETTER, CART, NEW, OLD, Person, edit

if TYPE_CHECKING:
    from engine.server import ForcedEngine

HERE = Path(__file__).resolve().parent
CONFIGURATION = HERE.parent / "docs" / "editors" / "neovim-minimal.lua"
PROGRAMS = Path(sys.executable).parent
NOBODY = "http://127.0.0.1:9"


@dataclass
class Neovim:
    """Someone who opens cart.py."""

    person: Person
    engine: str = ""

    def live(
        self, story: str, *, first: str = "", config: Path = CONFIGURATION, file: str = "cart.py"
    ) -> dict[str, Any]:
        """Runs a story of Lua; what it told. Neovim and all that it started are gone afterwards.

        `first` is a line of Lua that the person has in front of the configuration.
        """
        tmp = self.person.tmp
        (tmp / "story.lua").write_text(story)
        result = tmp / "result.json"
        environment = {
            **self.person.environment,
            "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
            "XDG_STATE_HOME": str(tmp / "nvim-state"),
            "XDG_DATA_HOME": str(tmp / "nvim-data"),
            "STORY": str(tmp / "story.lua"),
            "RESULT": str(result),
        }
        if self.engine:
            environment["GLM_LSP_ENGINE_URL"] = self.engine
        command = ["nvim", "--headless", "-n", "-i", "NONE", "-u", str(config), file]
        command += ["--cmd", f"lua {first}"] if first else []
        done = subprocess.run(
            [*command, "-c", f"luafile {HERE / 'neovim' / 'person.lua'}"],
            executable=PROGRAMS / "nvim",
            cwd=self.person.root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=200,
        )
        assert result.exists(), done.stdout + done.stderr
        told: dict[str, Any] = json.loads(result.read_text())
        assert "failure" not in told, told["failure"]
        left = [psutil.Process(pid) for pid in told["processes"] if psutil.pid_exists(pid)]
        _, alive = psutil.wait_procs(left, timeout=20)
        assert not alive, "quitting ends the server"
        return told


@pytest.fixture
def neovim(tmp_path: Path) -> Neovim:
    return Neovim(Person(tmp_path))


def test_the_configuration_has_ten_lines() -> None:
    assert len(CONFIGURATION.read_text().splitlines()) <= 10


LONG = ({"thinking": "Counting and counting. " * 10_000, "text": "Never said."},)
SIMPLIFIES = ({"thinking": "Quantities.", "calls": [edit("cart.py")]}, {"text": "The total counts quantities."})

TAKES_IT = """
person.ready()
person.act(2, "GLM: Simplify")
person.wait("the buffer has changed", function() return person.text():find("qty", 1, true) end)
person.idle()
person.tell("text", person.text())
person.tell("modified", vim.bo.modified)
vim.cmd.undo()
person.tell("undone", person.text())
"""


def test_a_choice_from_the_menu_changes_the_buffer_and_one_undo_takes_it_back(neovim: Neovim) -> None:
    neovim.engine = neovim.person.script(*SIMPLIFIES)
    told = neovim.live(TAKES_IT)
    assert told["text"] == BETTER
    assert told["modified"], "it is for the person to save it"
    assert told["undone"] == CART
    assert neovim.person.read() == CART
    menu = told["shown"][0]["lines"]
    assert all(line.startswith("GLM: ") for line in menu)
    assert len(told["shown"]) == 1, "one file that the person chose is applied without a question"
    assert told["bars"]["titles"][0].startswith("GLM: ")
    assert told["bars"]["ended"] == ["Done"]


@pytest.mark.engine
def test_the_same_on_the_real_engine(neovim: Neovim, glm_engine: ForcedEngine) -> None:
    glm_engine.say(
        "Quantities are missing.\nSo I add them.</think>"
        + tool_call("edit_file", file_path="cart.py", old_string=OLD, new_string=NEW),
        "That is all.</think>The total counts quantities.",
    )
    neovim.engine = glm_engine.url
    told = neovim.live(TAKES_IT)
    assert told["text"] == BETTER
    assert told["undone"] == CART
    assert glm_engine.unsaid == ()
    assert told["bars"]["ended"] == ["Done"]


def test_what_the_model_thinks_is_in_the_status_line(neovim: Neovim) -> None:
    neovim.engine = neovim.person.script(*LONG, delay=0.02, chop=4)
    neovim.live("""
        local drawn, status = "", vim.lsp.status
        vim.lsp.status = function()
          local now = status()
          drawn = drawn .. now
          return now
        end
        person.ready()
        person.act(2, "GLM: Simplify")
        person.wait("the status line says it", function()
          vim.api.nvim_eval_statusline(vim.o.statusline, {})
          return drawn:find("GLM: Simplify.*Counting")
        end)
    """)


def test_what_the_person_types_meanwhile_stays(neovim: Neovim) -> None:
    neovim.engine = neovim.person.script(*SIMPLIFIES, delay=0.1, chop=4)
    told = neovim.live("""
        person.ready()
        person.act(2, "GLM: Simplify")
        person.wait("the model works", function() return #person.bars.lines > 1 end)
        vim.api.nvim_buf_set_lines(0, 0, 0, false, { "# prices are in cents", "" })
        person.wait("the buffer has changed", function() return person.text():find("qty", 1, true) end)
        person.tell("text", person.text())
    """)
    assert told["text"] == "# prices are in cents\n\n" + BETTER


def test_a_new_file_is_asked_about_first(neovim: Neovim) -> None:
    new = {"name": "write_file", "arguments": {"file_path": "test_cart.py", "content": "assert True\n"}}
    neovim.engine = neovim.person.script({"calls": [new]}, {"text": "A test."})
    told = neovim.live("""
        person.ready()
        person.act(2, "test")
        person.pick("Apply")
        person.wait("it is asked", function() return #person.shown == 2 end)
        local path = vim.fn.getcwd() .. "/test_cart.py"
        person.wait("there is the file", function() return vim.fn.bufexists(path) == 1 end)
        person.wait("it has its text", function() return person.text(vim.fn.bufnr(path)):find("assert") end)
    """)
    assert [line.split(". ")[-1] for line in told["shown"][1]["lines"]] == ["Apply", "Show diff", "Discard"]


def test_a_question_in_the_persons_own_words_is_answered_in_a_document(neovim: Neovim) -> None:
    neovim.engine = neovim.person.script({"when": "What does it do?", "thinking": "Hm.", "text": "It sums prices."})
    told = neovim.live("""
        person.ready()
        vim.cmd("Glm What does it do?")
        local function transcript()
          for _, buffer in ipairs(vim.api.nvim_list_bufs()) do
            if vim.api.nvim_buf_get_name(buffer):match("%.md$") then return person.text(buffer) end
          end
          return ""
        end
        person.wait("the answer is shown", function() return transcript():find("It sums prices.", 1, true) end)
        person.tell("transcript", transcript())
    """)
    assert "## What does it do?" in told["transcript"]


WORKS_LONG = """
person.ready()
person.act(2, "GLM: Simplify")
person.wait("the model thinks", function() return table.concat(person.bars.lines):find("Counting") end)
"""


def test_a_turn_is_cancelled(neovim: Neovim) -> None:
    neovim.engine = neovim.person.script(*LONG, delay=0.02, chop=4)
    told = neovim.live(
        WORKS_LONG
        + """
        vim.cmd("GlmStop")
        person.idle()
        person.tell("text", person.text())
        person.wait("the server knows it too", function()
          local asked = { command = "glm.status", arguments = {} }
          local answer = person.client():request_sync("workspace/executeCommand", asked, 20000)
          return answer.result.quiescent
        end)
    """
    )
    assert told["bars"]["ended"] == ["Cancelled"]
    assert told["text"] == CART


def test_quitting_in_the_middle_of_a_turn_ends_the_server_too(neovim: Neovim) -> None:
    neovim.engine = neovim.person.script(*LONG, delay=0.02, chop=4)
    assert neovim.live(WORKS_LONG)["processes"], "the server ran until then"


def test_an_engine_that_is_down_is_told_with_what_to_do(neovim: Neovim) -> None:
    neovim.engine = NOBODY
    told = neovim.live("""
        person.ready()
        vim.cmd("Glm What does it do?")
        person.wait("it is said", function() return person.said("127.0.0.1:9") end)
        person.tell("text", person.text())
    """)
    assert told["text"] == CART
    assert "GLM: " in told["messages"]


def test_options_in_neovims_own_settings_reach_the_server(neovim: Neovim) -> None:
    engine = neovim.person.script(*SIMPLIFIES)
    first = f"vim.lsp.config('glm_lsp', {{ settings = {{ glm = {{ engine = {{ url = '{engine}' }} }} }} }})"
    assert neovim.live(TAKES_IT, first=first)["text"] == BETTER
