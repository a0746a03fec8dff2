"""The Neovim plug-in in Neovim itself: its commands, its review, its chat."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from test_real_neovim import HERE, LONG, SIMPLIFIES, Neovim
from test_refactor import BETTER, CART, Person, edit

if TYPE_CHECKING:
    from collections.abc import Callable

PLUGIN = HERE.parent / "editor-clients" / "nvim"

Live = "Callable[..., dict[str, Any]]"


@pytest.fixture
def neovim(tmp_path: Path) -> Neovim:
    one = Neovim(Person(tmp_path))
    one.person.environment["GLM_PLUGIN"] = str(PLUGIN)
    return one


@pytest.fixture
def live(neovim: Neovim) -> Callable[..., dict[str, Any]]:
    def run(story: str, **more: Any) -> dict[str, Any]:
        return neovim.live(story, config=HERE / "neovim" / "plugin.lua", **more)

    return run


REVIEWED = """
person.ready()
vim.api.nvim_win_set_cursor(0, { 2, 0 })
vim.cmd("Glm refactor count quantities")
local review = require("glm_lsp.review")
person.wait("a hunk is under review", function() return review.waiting() == 1 end)
person.tell("inplace", person.text())
person.tell("bar", review.winbar())
"""


def test_a_refactoring_is_reviewed_in_the_buffer_and_taken_over(neovim: Neovim, live) -> None:
    neovim.engine = neovim.person.script(*SIMPLIFIES)
    told = live(REVIEWED + """
        vim.cmd.normal("ga")
        person.wait("it is over", function() return review.waiting() == nil end)
        person.tell("kept", person.text())
        vim.cmd("Glm undo")
        person.tell("undone", person.text())
    """)
    assert told["inplace"] == BETTER
    assert "hunk 1 of 1" in told["bar"]
    assert told["kept"] == BETTER
    assert told["undone"] == CART
    assert neovim.person.read() == CART, "it is for the person to save it"


def test_a_rejected_hunk_is_as_it_was(neovim: Neovim, live) -> None:
    neovim.engine = neovim.person.script(*SIMPLIFIES)
    told = live(REVIEWED + """
        vim.cmd.normal("gr")
        person.wait("it is over", function() return review.waiting() == nil end)
        person.tell("after", person.text())
    """)
    assert told["after"] == CART


def test_a_chat_shows_thinking_folded_and_the_answer(neovim: Neovim, live) -> None:
    neovim.engine = neovim.person.script({"thinking": "Hm.\nLet me see.", "text": "It sums prices."})
    told = live("""
        person.ready()
        vim.cmd("Glm What does it do?")
        local chat = require("glm_lsp.chat").of()
        person.wait("it has ended", function() return chat.turn == nil end)
        person.tell("chat", person.text(chat.buffer))
        local folded
        for line = 1, vim.api.nvim_buf_line_count(0) do
          if vim.fn.foldclosed(line) == line then folded = vim.fn.foldtextresult(line) end
        end
        person.tell("folded", folded)
    """)
    assert "It sums prices." in told["chat"]
    assert "Let me see." in told["chat"]
    assert told["folded"].startswith("▸ Thought for ")
    assert told["chat"].rstrip().endswith("## You")


def test_stop_ends_a_turn(neovim: Neovim, live) -> None:
    neovim.engine = neovim.person.script(*LONG, delay=0.02, chop=4)
    told = live("""
        person.ready()
        vim.cmd("Glm What does it do?")
        local events = require("glm_lsp.events")
        person.wait("it thinks", function()
          local _, turn = next(events.turns)
          return turn and turn.line:find("Thinking", 1, true)
        end)
        person.tell("statusline", require("glm_lsp").statusline())
        vim.cmd("Glm stop")
        person.wait("it has ended", function() return next(events.turns) == nil end)
        person.tell("chat", person.text())
    """)
    assert told["statusline"].startswith("GLM · Thinking…")
    assert "*Stopped in" in told["chat"]


def test_permission_is_asked_for_in_a_list(neovim: Neovim, live) -> None:
    call = {"name": "run_command", "arguments": {"command": "echo yes"}}
    neovim.engine = neovim.person.script({"calls": [call]}, {"text": "It said yes."})
    told = live("""
        person.ready()
        person.pick("Once")
        vim.cmd("Glm Run it.")
        local chat = require("glm_lsp.chat").of()
        person.wait("it has ended", function() return chat.turn == nil end)
        person.tell("chat", person.text(chat.buffer))
    """)
    assert "echo yes" in told["shown"][0]["prompt"]
    assert "It said yes." in told["chat"]


def test_a_session_is_continued_after_neovim_was_closed(neovim: Neovim, live) -> None:
    neovim.engine = neovim.person.script({"when": "sums", "thinking": "Hm.", "text": "It sums prices."})
    live("""
        person.ready()
        vim.cmd("Glm Tell me what it sums")
        local chat = require("glm_lsp.chat").of()
        person.wait("it has ended", function() return chat.turn == nil end)
    """)
    neovim.engine = neovim.person.script({"when": "It sums prices.", "text": "As I said."})
    told = live("""
        person.ready()
        person.pick("Tell me")
        vim.cmd("Glm sessions")
        person.wait("it is there", function() return person.text():find("It sums prices.", 1, true) end)
        vim.cmd("Glm And again?")
        local chat = require("glm_lsp.chat").of()
        person.wait("it has ended", function() return chat.turn == nil and person.text():find("As I said", 1, true) end)
        person.tell("chat", person.text())
    """)
    assert told["chat"].index("It sums prices.") < told["chat"].index("As I said.")


def test_every_word_of_the_command_is_completed_and_nothing_is_loaded_before(live) -> None:
    told = live("""
        local before = vim.tbl_filter(function(name) return name:find("^glm_lsp") end, vim.tbl_keys(package.loaded))
        person.tell("loaded", before)
        person.tell("words", vim.fn.getcompletion("Glm ", "cmdline"))
        person.tell("think", vim.fn.getcompletion("Glm think o", "cmdline"))
    """, file="README")
    assert set(told["loaded"]) <= {"glm_lsp.server", "glm_lsp.options"}
    wanted = {"ask", "refactor", "fix", "explain", "document", "tests", "review", "undo", "sessions", "context"}
    assert wanted | {"status", "engine", "stop"} <= set(told["words"])
    assert told["think"] == ["off", "on"]
