"""Every word of `:Glm`, once: what it does is seen, and none is forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from neovim.plugged import Plugged, plugged
from test_refactor import BETTER, CART, edit

if TYPE_CHECKING:
    from pathlib import Path

BEGIN = """
local commands = require("glm_lsp.commands").COMMANDS
local used = {}
for name, command in pairs(commands) do
  local run = command.run
  command.run = function(given) used[name] = true; return run(given) end
end
local review, events = require("glm_lsp.review"), require("glm_lsp.events")
local function home()
  vim.cmd("silent! tabonly | only! | buffer cart.py")
end
local function under_review() return review.waiting() == 1 end
person.ready()
"""
END = """
person.tell("used", vim.tbl_keys(used))
person.tell("all", vim.tbl_keys(commands))
"""
DOCUMENTED = CART.replace("def total(items):\n", 'def total(items):\n    """Sum."""\n')
DOCUMENTS = edit("cart.py", "def total(items):\n", 'def total(items):\n    """Sum."""\n')
TESTS = {"name": "write_file", "arguments": {"file_path": "test_cart.py", "content": "assert True\n"}}

STORIES: dict[str, tuple[tuple[dict[str, Any], ...], str]] = {
    "actions": (
        (
            {"text": "It sums."},
            {"calls": [DOCUMENTS]},
            {"text": "Documented."},
            {"calls": [TESTS]},
            {"text": "Tested."},
            {"text": "It is right."},
            {"calls": [edit("cart.py")]},
            {"text": "Simple."},
            {"text": "It sums again."},
            {"text": "Looked through."},
        ),
        """
        local function told(words)
          person.wait("it is shown: " .. words, function()
            for _, buffer in ipairs(vim.api.nvim_list_bufs()) do
              if person.text(buffer):find(words, 1, true) then return true end
            end
          end)
        end
        person.after_a_turn(function() vim.cmd("Glm explain") end)
        told("It sums.")
        home()
        vim.cmd("1Glm document")
        person.wait("the docstring is under review", under_review)
        vim.cmd("Glm accept!")
        person.tell("documented", person.text())
        vim.cmd("Glm tests")
        person.wait("the tests are under review", under_review)
        vim.cmd("Glm reject!")
        home()
        local space = vim.api.nvim_create_namespace("someone")
        vim.diagnostic.set(space, 0, { { lnum = 2, col = 0, end_lnum = 2, end_col = 4, message = "quantities are missing" } })
        person.after_a_turn(function() vim.cmd("3Glm fix") end)
        home()
        vim.cmd("3Glm simplify")
        person.wait("it is under review", under_review)
        vim.cmd("Glm reject")
        person.tell("left out", person.text())
        person.after_a_turn(function() vim.cmd("Glm do explain") end)
        told("It sums again.")
        home()
        person.tell("ids", vim.fn.getcompletion("Glm do ", "cmdline"))
        person.after_a_turn(function() vim.cmd("Glm review file") end)
        """,
    ),
    "review": (
        ({"calls": [edit("cart.py")]}, {"text": "Counted."}),
        """
        vim.cmd("1,2Glm refactor count quantities")
        person.wait("it is under review", under_review)
        vim.cmd("normal! G")
        vim.cmd("Glm review")
        person.tell("at", vim.api.nvim_win_get_cursor(0)[1])
        vim.cmd("Glm diff")
        local sides = vim.tbl_map(function(window)
          return { person.text(vim.api.nvim_win_get_buf(window)), vim.wo[window].diff }
        end, vim.api.nvim_tabpage_list_wins(0))
        person.tell("sides", sides)
        home()
        vim.cmd("Glm accept")
        person.tell("taken", person.text())
        vim.cmd("Glm undo")
        person.tell("undone", person.text())
        """,
    ),
    "chat": (
        (
            {"when": "what does it do", "text": "It sums prices."},
            {"when": "and this", "text": "It returns."},
            {"when": "once more", "text": "The same in a copy."},
        ),
        """
        vim.cmd("Glm chat")
        local chats = require("glm_lsp.chat")
        local first = chats.of()
        vim.cmd("Glm ask what does it do")
        person.wait("it is answered", function() return first.turn == nil end)
        vim.cmd("Glm rename the sum")
        person.wait("it has the name", function() return person.text():find("# the sum", 1, true) end)
        home()
        vim.cmd("2Glm ask and this")
        person.wait("it is answered", function() return first.turn == nil and person.text():find("returns", 1, true) end)
        vim.cmd("Glm fork")
        person.wait("there is a copy", function() return chats.of() and chats.of().conversation ~= first.conversation end)
        local copy = chats.of()
        person.wait("it has the answer", function() return person.text(copy.buffer):find("returns", 1, true) end)
        vim.cmd("Glm once more")
        person.wait("it is answered", function() return copy.turn == nil and person.text():find("in a copy", 1, true) end)
        person.tell("first", person.text(first.buffer))
        vim.cmd("Glm think off")
        person.tell("thinking", copy.thinking)
        vim.cmd("Glm compact")
        person.wait("that is told", function() return person.said("GLM: ") and (person.said("tokens") or person.said("short")) end)
        vim.cmd("Glm! chat")
        person.tell("new", chats.of() ~= copy and chats.of() ~= first)
        person.pick("the sum")
        vim.cmd("Glm sessions")
        person.wait("the first is back", function() return chats.of() == first end)
        """,
    ),
    "meanwhile": (
        (
            {
                "when": "what does it do",
                "thinking": "Slowly. " * 100,
                "calls": [{"name": "read_file", "arguments": {"file_path": "cart.py"}}],
            },
            {"when": "prices are in cents", "thinking": "Slowly. " * 10000},
        ),
        """
        vim.cmd("Glm what does it do")
        local chat = require("glm_lsp.chat").of()
        person.wait("it thinks", function() return chat.mode == "thinking" end)
        home()
        vim.cmd("Glm tell prices are in cents")
        person.wait("it has read on", function() return person.text(chat.buffer):find("Read cart.py", 1, true) end)
        person.wait("it thinks of that", function() return chat.mode == "thinking" end)
        vim.cmd("Glm stop")
        person.wait("it has ended", function() return next(events.turns) == nil end)
        person.tell("chat", person.text(chat.buffer))
        """,
    ),
    "pages": (
        (),
        """
        vim.cmd("Glm context what is summed")
        person.wait("it is shown", function() return person.text():find("^# At most") end)
        person.tell("context", person.text())
        home()
        vim.cmd("Glm status")
        person.wait("it is shown", function() return person.text():find("Thinking is kept", 1, true) end)
        home()
        vim.cmd("Glm engine")
        person.wait("it says something", function() return vim.trim(person.text()) ~= "" end)
        home()
        vim.env.PIP_NO_INDEX = "1"
        vim.cmd("Glm install")
        person.wait("it is said why not", function() return person.said("No matching distribution") end)
        vim.cmd("Glm review changes")
        """,
    ),
}
SEEN: set[str] = set()


@pytest.fixture
def neovim(tmp_path: Path) -> Plugged:
    return plugged(tmp_path)


def play(neovim: Plugged, name: str) -> dict[str, Any]:
    replies, story = STORIES[name]
    more = {"delay": 0.01, "chop": 8} if name == "meanwhile" else {}
    neovim.engine = neovim.person.script(*replies, **more)
    return neovim.play(BEGIN + story + END)


EXPECTED: dict[str, dict[str, Any]] = {
    "actions": {"documented": DOCUMENTED, "left out": DOCUMENTED},
    "review": {"at": 2, "taken": BETTER, "undone": CART, "sides": [[CART, True], [BETTER, True]]},
    "chat": {"thinking": "off", "new": True},
    "meanwhile": {},
    "pages": {},
}
USED = {
    "actions": {"explain", "document", "accept", "tests", "reject", "fix", "simplify", "do", "review"},
    "review": {"refactor", "review", "diff", "accept", "undo"},
    "chat": {"chat", "ask", "rename", "fork", "think", "compact", "sessions"},
    "meanwhile": {"ask", "tell", "stop"},
    "pages": {"context", "status", "engine", "install", "review"},
}


@pytest.mark.parametrize("name", STORIES)
def test_commands_do_what_they_say(neovim: Plugged, name: str) -> None:
    told = play(neovim, name)
    assert set(told["used"]) == USED[name]
    assert {key: told[key] for key in EXPECTED[name]} == EXPECTED[name]
    if name == "meanwhile":
        assert "*Stopped in" in told["chat"]
    elif name == "actions":
        assert {"explain", "refactor"} <= set(told["ids"])
    elif name == "pages":
        assert "cart.py" in told["context"]
    elif name == "chat":
        assert "in a copy" not in told["first"]
    assert set().union(*USED.values()) == set(told["all"]), "every command is in one of the stories"
