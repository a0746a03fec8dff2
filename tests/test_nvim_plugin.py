"""The Neovim plug-in in Neovim itself: its commands, its review, its chat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from test_real_neovim import HERE, LONG, SIMPLIFIES, Neovim
from test_refactor import BETTER, CART, Person, edit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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
    told = live(
        REVIEWED
        + """
        vim.cmd.normal("ga")
        person.wait("it is over", function() return review.waiting() == nil end)
        person.tell("kept", person.text())
        vim.cmd("Glm undo")
        person.tell("undone", person.text())
    """
    )
    assert told["inplace"] == BETTER
    assert "hunk 1 of 1" in told["bar"]
    assert told["kept"] == BETTER
    assert told["undone"] == CART
    assert neovim.person.read() == CART, "it is for the person to save it"


def test_a_rejected_hunk_is_as_it_was(neovim: Neovim, live) -> None:
    neovim.engine = neovim.person.script(*SIMPLIFIES)
    told = live(
        REVIEWED
        + """
        vim.cmd.normal("gr")
        person.wait("it is over", function() return review.waiting() == nil end)
        person.tell("after", person.text())
    """
    )
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
    told = live(
        """
        local before = vim.tbl_filter(function(name) return name:find("^glm_lsp") end, vim.tbl_keys(package.loaded))
        person.tell("loaded", before)
        person.tell("words", vim.fn.getcompletion("Glm ", "cmdline"))
        person.tell("think", vim.fn.getcompletion("Glm think o", "cmdline"))
    """,
        file="README",
    )
    assert set(told["loaded"]) <= {"glm_lsp.server", "glm_lsp.options", "glm_lsp.defaults"}
    wanted = {"ask", "refactor", "fix", "explain", "document", "tests", "review", "undo", "sessions", "context"}
    assert wanted | {"status", "engine", "stop"} <= set(told["words"])
    assert told["think"] == ["off", "on"]


def test_several_files_and_a_new_one_are_reviewed_hunk_by_hunk(neovim: Neovim, live) -> None:
    new = {"name": "write_file", "arguments": {"file_path": "test_cart.py", "content": "assert True\nassert 1\n"}}
    (neovim.person.root / "shop.py").write_text("def shop():\n    return 1\n")
    neovim.person.git("add", ".")
    change = edit("shop.py", old="    return 1\n", new="    # one\n    return 1\n")
    read = {"name": "read_file", "arguments": {"file_path": "shop.py"}}
    neovim.engine = neovim.person.script(
        {"calls": [read]}, {"calls": [edit("cart.py"), change, new]}, {"text": "All done."}
    )
    told = live("""
        person.ready()
        vim.cmd("Glm refactor count quantities")
        local review = require("glm_lsp.review")
        person.wait("three hunks are under review", function() return review.waiting() == 3 end)
        local list = vim.tbl_map(function(item)
          return ("%s:%d"):format(vim.fn.fnamemodify(vim.fn.bufname(item.bufnr), ":t"), item.lnum)
        end, vim.fn.getqflist())
        table.sort(list)
        person.tell("list", list)
        vim.cmd("Glm accept")
        person.tell("second", vim.fn.expand("%:t"))
        vim.cmd("Glm reject")
        person.tell("third", vim.fn.expand("%:t"))
        vim.cmd("Glm accept")
        person.wait("it is over", function() return review.waiting() == nil end)
        for _, name in ipairs({ "cart.py", "shop.py", "test_cart.py" }) do
          person.tell(name, person.text(vim.fn.bufnr(name)))
        end
    """)
    assert told["list"] == ["cart.py:2", "shop.py:2", "test_cart.py:1"]
    assert {told["second"], told["third"]} <= {"cart.py", "shop.py", "test_cart.py"}
    accepted = told["cart.py"] == BETTER, "# one" in told["shop.py"], "assert 1" in told["test_cart.py"]
    assert sum(accepted) == 2


def test_what_is_typed_meanwhile_stays(neovim: Neovim, live) -> None:
    thinks = ({"thinking": "Slowly. " * 20, "calls": [edit("cart.py")]}, {"text": "Done."})
    neovim.engine = neovim.person.script(*thinks, delay=0.02, chop=4)
    told = live("""
        person.ready()
        vim.cmd("Glm refactor count quantities")
        local events = require("glm_lsp.events")
        person.wait("it thinks", function() local _, turn = next(events.turns) return turn and turn.thought end)
        vim.api.nvim_buf_set_lines(0, 0, 0, false, { "# prices are in cents", "" })
        local review = require("glm_lsp.review")
        person.wait("a hunk is under review", function() return review.waiting() == 1 end)
        vim.cmd("Glm accept!")
        person.tell("text", person.text())
    """)
    assert told["text"] == "# prices are in cents\n\n" + BETTER


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = 'α𝒳'\r\ny = 1\r\n", "x = 'α𝒳β'\r\ny = 1\r\n"),
        ("x = 'α𝒳'\ny = 1", "x = 'α𝒳β'\ny = 1"),
    ],
    ids=["crlf", "no-final-newline"],
)
def test_line_endings_and_astral_letters_survive_a_review(neovim: Neovim, live, before: str, after: str) -> None:
    path = neovim.person.root / "odd.py"
    path.write_bytes(before.encode())
    old, new = before.splitlines()[0], after.splitlines()[0]
    neovim.engine = neovim.person.script({"calls": [edit("odd.py", old=old + "\n", new=new + "\n")]}, {"text": "Done."})
    live(
        """
        person.ready()
        vim.o.fixeol = false
        vim.cmd("Glm refactor add a beta")
        local review = require("glm_lsp.review")
        person.wait("a hunk is under review", function() return review.waiting() == 1 end)
        vim.cmd("Glm accept!")
        vim.cmd.write()
    """,
        file="odd.py",
    )
    assert path.read_bytes().decode() == after


def test_a_server_that_dies_is_told_of_and_comes_back(neovim: Neovim, live) -> None:
    neovim.engine = neovim.person.script(*LONG, delay=0.02, chop=4)
    told = live("""
        person.ready()
        vim.cmd("Glm What does it do?")
        local events = require("glm_lsp.events")
        person.wait("it thinks", function() local _, turn = next(events.turns) return turn and turn.thought end)
        for _, pid in ipairs(vim.api.nvim_get_proc_children(vim.fn.getpid())) do vim.uv.kill(pid, "sigkill") end
        person.wait("it is over", function() return next(events.turns) == nil end)
        person.tell("chat", person.text())
        person.wait("the client is gone", function() return person.client() == nil end)
        vim.cmd("Glm status")
        person.wait("it is back", function() return person.text():find("Thinking is kept", 1, true) end)
    """)
    assert "glm-lsp ended while it worked." in told["chat"]


def test_the_help_has_every_command_option_and_group(live) -> None:
    told = live(
        """
        vim.cmd("helptags " .. vim.env.GLM_PLUGIN .. "/doc")
        vim.cmd("help glm-lsp")
        person.tell("help", vim.api.nvim_buf_get_lines(0, 0, -1, false))
        local commands = {}
        for name, command in pairs(require("glm_lsp.commands").COMMANDS) do commands[name] = command.about end
        person.tell("commands", commands)
        person.tell("tags", vim.fn.getcompletion(":Glm-", "help"))
        person.tell("options", vim.fn.getcompletion("glm-lsp-option-", "help"))
        person.tell("types", vim.tbl_keys(require("glm_lsp.defaults").TYPES))
        person.tell("groups", vim.tbl_keys(require("glm_lsp.highlights").GROUPS))
        for _, tag in ipairs({ "g:glm_lsp", "glm-lsp-options", "glm-lsp-settings", "glm-lsp-actions", "glm-lsp-health" }) do
          vim.cmd("help " .. tag)
        end
        local links = {}
        for link in table.concat(vim.fn.readfile(vim.env.GLM_PLUGIN .. "/doc/glm-lsp.txt"), " "):gmatch("|(%S-)|") do
          if not pcall(vim.cmd, "help " .. link) then table.insert(links, link) end
        end
        person.tell("dead", links)
    """,
        file="README",
    )
    (PLUGIN / "doc" / "tags").unlink()
    text = "\n".join(told["help"])
    assert set(told["tags"]) == {f":Glm-{name}" for name in told["commands"]}
    for name, about in told["commands"].items():
        assert f"{f':Glm {name}':<24}{about[:1].upper()}{about[1:]}.\n" in text
    assert {f"glm-lsp-option-{name}" for name in told["types"]} <= set(told["options"])
    assert not [name for name in told["groups"] if name not in text]
    assert told["dead"] == [], "every link leads somewhere"
