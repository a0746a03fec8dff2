"""The Neovim plug-in at work: repeating, the keys of a review, long files, several windows, an engine that comes and goes."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from engine.server import tool_call
from neovim.plugged import MONEY, Plugged, changed, decimals, plugged
from test_real_neovim import LONG, SIMPLIFIES
from test_refactor import BETTER, CART, NEW, OLD, edit
from wire_server import WireServer, spoken

if TYPE_CHECKING:
    from pathlib import Path

    from engine.server import ForcedEngine


@pytest.fixture
def neovim(tmp_path: Path) -> Plugged:
    return plugged(tmp_path)


# --- again -------------------------------------------------------------------------------------------------------

TWO = CART + "\n\n" + CART.replace("total", "amount").replace("price", "cost")
COSTS = edit("cart.py", OLD.replace("price", "cost").replace("return", "return"), NEW.replace("price", "cost"))


@pytest.mark.parametrize("words", ["given", "asked for"])
def test_a_dot_repeats_the_last_action_with_its_words_where_the_cursor_is(neovim: Plugged, words: str) -> None:
    neovim.has("cart.py", TWO)
    neovim.engine = neovim.person.script(
        {"when": "count quantities", "calls": [edit("cart.py")]},
        {"text": "Done."},
        {"when": "count quantities", "calls": [COSTS]},
        {"text": "Done."},
    )
    command = "Glm refactor count quantities" if words == "given" else "Glm refactor"
    told = neovim.play(
        f"""
        local asked = 0
        vim.ui.input = function(_, done) asked = asked + 1; done("count quantities") end
        person.ready()
        vim.api.nvim_win_set_cursor(0, {{ 2, 7 }})
        vim.cmd("{command}")
        person.tell("cursor", vim.api.nvim_win_get_cursor(0))
        """
        """
        local review = require("glm_lsp.review")
        person.wait("a hunk is under review", function() return review.waiting() == 1 end)
        person.keys("ga")
        vim.api.nvim_win_set_cursor(0, { 6, 4 })
        person.keys(".")
        person.wait("another is", function() return review.waiting() == 1 end)
        person.tell("line", vim.api.nvim_win_get_cursor(0)[1])
        person.keys("ga")
        person.tell("text", person.text())
        person.tell("asked", asked)
        """
    )
    assert told["text"] == TWO.replace("i.price for", "i.price * i.qty for").replace("i.cost for", "i.cost * i.qty for")
    assert told["cursor"] == [2, 7], "it stays where it was"
    assert told["line"] == 6
    assert told["asked"] == (words != "given")


def test_a_dot_repeats_a_range_over_as_many_lines_and_a_change_takes_the_dot_back(neovim: Plugged) -> None:
    neovim.has("cart.py", MONEY)
    neovim.engine = neovim.person.script({"text": "It sums."}, {"text": "It divides."})
    told = neovim.play("""
        person.ready()
        local ranges = {}
        local server = require("glm_lsp.server")
        local command = server.command
        server.command = function(name, given, ...)
          table.insert(ranges, { given.range.start.line, given.range["end"].line })
          return command(name, given, ...)
        end
        person.after_a_turn(function() vim.cmd("10,11Glm explain") end)
        vim.cmd("wincmd t | buffer cart.py | 14")
        person.after_a_turn(function() person.keys(".") end)
        vim.cmd("wincmd t | buffer cart.py | 1")
        person.keys("dd")
        person.keys(".")
        person.tell("ranges", ranges)
        person.tell("text", person.text())
    """)
    assert told["ranges"] == [[9, 11], [13, 15]]
    assert told["text"] == "".join(MONEY.splitlines(keepends=True)[2:])


# --- the keys of a review ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "line", "waiting", "text"),
    [
        ("]h", 7, 3, changed(1, 2, 3)),
        ("]h]h", 12, 3, changed(1, 2, 3)),
        ("[h", 12, 3, changed(1, 2, 3)),
        ("ga", 7, 2, changed(1, 2, 3)),
        ("gr", 6, 2, changed(2, 3)),
        ("]hgr", 12, 2, changed(1, 3)),
        ("grgagr", None, None, changed(2)),
        ("gA", None, None, changed(1, 2, 3)),
        ("gR", None, None, MONEY),
        ("gagR", None, None, changed(1)),
    ],
)
def test_a_key_of_a_review_does_what_it_says(
    neovim: Plugged, keys: str, line: int | None, waiting: int | None, text: str
) -> None:
    neovim.has("cart.py", MONEY)
    neovim.engine = neovim.person.script({"calls": decimals()}, {"text": "Prices are Decimal."})
    told = neovim.play(
        """
        person.ready()
        vim.cmd("Glm refactor use Decimal for money")
        local review = require("glm_lsp.review")
        person.wait("three hunks are under review", function() return review.waiting() == 3 end)
        """
        f'person.keys("{keys}")\n'
        """
        person.tell("line", vim.api.nvim_win_get_cursor(0)[1])
        person.tell("waiting", review.waiting())
        person.tell("text", person.text())
        person.tell("mapped", vim.fn.maparg("ga", "n", false, true).desc)
        vim.cmd("Glm undo")
        person.tell("undone", person.text())
        """
    )
    assert told["text"] == text
    assert told.get("waiting") == waiting
    assert line is None or told["line"] == line
    assert ("mapped" in told) == (waiting is not None), "the keys are there only in a review"
    assert told["undone"] == MONEY


@pytest.mark.parametrize("where", ["first", "last"])
def test_lines_that_go_at_an_end_of_a_file_come_back_where_they_were(neovim: Plugged, where: str) -> None:
    gone = {"first": "from dataclasses import dataclass\n\n\n", "last": MONEY[MONEY.index("\n\ndef average") :]}[where]
    neovim.has("cart.py", MONEY)
    shorter = [{"calls": [edit("cart.py", gone, "")]}, {"text": "Shorter."}]
    neovim.engine = neovim.person.script(*shorter, *shorter)
    told = neovim.play("""
        person.ready()
        local review = require("glm_lsp.review")
        for _, key in ipairs({ "gr", "ga" }) do
          vim.cmd("Glm refactor make it shorter")
          person.wait("a hunk is under review", function() return review.waiting() == 1 end)
          person.keys(key)
          person.tell(key, person.text())
        end
        vim.fn.append(vim.fn.search("qty"), "# mine")
        vim.cmd("Glm undo")
        person.tell("undone", person.text())
    """)
    assert told["gr"] == MONEY
    assert told["ga"] == MONEY.replace(gone, "")
    assert told["undone"] == MONEY.replace("    qty: int\n", "    qty: int\n# mine\n")


def test_why_is_told_in_a_window_of_its_own(neovim: Plugged) -> None:
    neovim.engine = neovim.person.script(*SIMPLIFIES)
    told = neovim.play("""
        person.ready()
        vim.cmd("Glm refactor count quantities")
        local review = require("glm_lsp.review")
        person.wait("a hunk is under review", function() return review.waiting() == 1 end)
        person.keys("K")
        for _, window in ipairs(vim.api.nvim_list_wins()) do
          if vim.api.nvim_win_get_config(window).relative ~= "" then
            person.tell("why", person.text(vim.api.nvim_win_get_buf(window)))
          end
        end
    """)
    assert told["why"].strip()


def test_keys_can_be_others_or_none_and_a_wrong_option_is_named(neovim: Plugged) -> None:
    neovim.engine = neovim.person.script(*SIMPLIFIES)
    given = "{ chat = { position = 'above', size = 'wide' }, colour = 1, review = { keys = { accept = '<CR>', why = false, next = 3 } } }"
    told = neovim.play(
        """
        person.ready()
        vim.cmd("Glm refactor count quantities")
        local review = require("glm_lsp.review")
        person.wait("a hunk is under review", function() return review.waiting() == 1 end)
        person.tell("why", vim.fn.maparg("K", "n", false, true).desc)
        person.keys("<CR>")
        person.tell("waiting", review.waiting())
        person.tell("faults", require("glm_lsp.options").faults())
        """,
        first=f"vim.g.glm_lsp = {given.replace('next = 3', 'next = false')}",
    )
    assert "waiting" not in told
    assert not str(told.get("why", "")).startswith("GLM")
    assert told["faults"] == [
        '`chat.position` is "above", and should be "right"|"left"|"below"|"tab"|"here"',
        '`chat.size` is "wide", and should be integer',
        "there is no option `colour`",
    ]


# --- windows -----------------------------------------------------------------------------------------------------


def test_two_windows_on_one_buffer_show_the_same_review(neovim: Plugged) -> None:
    neovim.has("cart.py", MONEY)
    neovim.engine = neovim.person.script({"calls": decimals()}, {"text": "Prices are Decimal."})
    told = neovim.play("""
        person.ready()
        vim.cmd("setlocal winbar=mine | vsplit | setlocal winbar=")
        local review = require("glm_lsp.review")
        local function bars()
          return vim.tbl_map(function(window)
            return vim.api.nvim_eval_statusline(vim.wo[window].winbar, { winid = window, use_winbar = true }).str
          end, vim.api.nvim_list_wins())
        end
        vim.cmd("Glm refactor use Decimal for money")
        person.wait("three hunks are under review", function() return review.waiting() == 3 end)
        person.tell("during", bars())
        person.keys("gA")
        vim.cmd("split")
        person.tell("after", vim.tbl_map(function(window) return vim.wo[window].winbar end, vim.api.nvim_list_wins()))
    """)
    assert all("hunk" in bar for bar in told["during"])
    assert sorted(told["after"]) == ["", "", "mine"], "a bar of one's own comes back, and no window keeps ours"


def test_two_neovims_work_in_one_workspace_and_one_goes_on_where_the_other_was(neovim: Plugged, tmp_path: Path) -> None:
    neovim.has("shop.py", CART)
    (tmp_path / "other").mkdir()
    other = neovim.beside(tmp_path / "other")
    neovim.engine = neovim.person.script({"thinking": "Slowly. " * 60, "text": "It sums prices."}, delay=0.01, chop=8)
    other.engine = other.person.script(
        {"calls": [edit("shop.py")]}, {"text": "Counted."}, {"when": "It sums prices.", "text": "As said."}
    )
    with ThreadPoolExecutor(2) as both:
        first = both.submit(
            neovim.play,
            """
            person.ready()
            vim.cmd("Glm Tell me what it sums")
            local chat = require("glm_lsp.chat").of()
            person.wait("it thinks", function() return chat.mode == "thinking" end)
            vim.fn.writefile({}, "../one")
            person.wait("it has ended", function() return chat.turn == nil end)
            vim.fn.writefile({}, "../two")
            person.wait("the other one is done", function() return vim.uv.fs_stat("../three") end)
            person.tell("chat", person.text())
            """,
        )
        second = both.submit(
            other.play,
            """
            person.wait("the first one asks", function() return vim.uv.fs_stat("../one") end)
            person.ready()
            vim.cmd("Glm refactor count quantities")
            local review = require("glm_lsp.review")
            person.wait("a hunk is under review", function() return review.waiting() == 1 end)
            person.keys("ga")
            person.tell("shop", person.text())
            person.wait("the first one is answered", function() return vim.uv.fs_stat("../two") end)
            person.pick("Tell me")
            vim.cmd("Glm sessions")
            person.wait("it is there", function() return person.text():find("It sums prices.", 1, true) end)
            vim.cmd("Glm And again?")
            local chat = require("glm_lsp.chat").of()
            person.wait("it has ended", function() return chat.turn == nil and person.text():find("As said", 1, true) end)
            vim.fn.writefile({}, "../three")
            """,
            file="shop.py",
        )
        assert "It sums prices." in first.result()["chat"]
        assert second.result()["shop"] == BETTER


# --- files that are not small ------------------------------------------------------------------------------------


def test_a_review_in_fifty_thousand_lines_touches_two_of_them(neovim: Plugged) -> None:
    lines = [f"value_{number} = {number}\n" for number in range(1, 50_001)]
    neovim.has("big.py", "".join(lines))
    changes = [edit("big.py", f"value_{n} = {n}\n", f"value_{n} = {n} + 1\n") for n in (49_990, 49_995)]
    read = {"name": "read_file", "arguments": {"file_path": "big.py", "start_line": 49_980, "end_line": 50_000}}
    neovim.engine = neovim.person.script({"calls": [read]}, {"calls": changes}, {"text": "Done."})
    told = neovim.play(
        """
        person.ready()
        vim.cmd("49980,50000Glm refactor add one")
        local review = require("glm_lsp.review")
        person.wait("two hunks are under review", function() return review.waiting() == 2 end)
        person.keys("]h")
        person.tell("bar", review.winbar())
        person.keys("gr")
        person.tell("line", vim.api.nvim_win_get_cursor(0)[1])
        person.keys("gA")
        vim.cmd.write()
        """,
        file="big.py",
    )
    lines[49_989] = "value_49990 = 49990 + 1\n"
    assert "hunk 2 of 2" in told["bar"]
    assert told["line"] == 49_990
    assert neovim.person.read("big.py") == "".join(lines)


# --- what does not go as it should -------------------------------------------------------------------------------


def test_a_turn_that_is_stopped_in_the_middle_of_an_edit_leaves_nothing_behind(neovim: Plugged) -> None:
    neovim.has("cart.py", MONEY)
    neovim.engine = neovim.person.script({"calls": decimals()[2:]}, *LONG, delay=0.02, chop=4)
    told = neovim.play("""
        person.ready()
        vim.cmd("Glm refactor use Decimal for money")
        local space = vim.api.nvim_create_namespace("glm_lsp.preview")
        local function marks() return #vim.api.nvim_buf_get_extmarks(0, space, 0, -1, {}) end
        person.wait("a hunk grows", function() return marks() > 0 end)
        person.after_a_turn(function() vim.cmd("Glm stop") end)
        person.tell("marks", marks())
        person.tell("text", person.text())
        person.tell("modified", vim.bo.modified)
        person.tell("waiting", require("glm_lsp.review").waiting())
        person.tell("bar", vim.wo.winbar)
    """)
    assert (told["marks"], told["text"], told["modified"], told["bar"]) == (0, MONEY, False, "")
    assert "waiting" not in told


def test_keys_typed_while_the_answer_streams_go_where_the_person_is(neovim: Plugged) -> None:
    neovim.engine = neovim.person.script({"text": "Word by word. " * 200}, delay=0.005, chop=12)
    told = neovim.play("""
        person.ready()
        vim.cmd("Glm What does it do?")
        local chat = require("glm_lsp.chat").of()
        local chats = vim.api.nvim_get_current_win()
        person.wait("it speaks", function() return chat.mode == "text" end)
        vim.api.nvim_win_set_cursor(chats, { 1, 0 })
        vim.cmd("wincmd t")
        for number = 1, 20 do
          person.keys("Go# " .. number .. "<Esc>")
          vim.wait(5)
        end
        person.tell("meanwhile", chat.turn ~= nil)
        person.wait("it has ended", function() return chat.turn == nil end)
        person.tell("text", person.text())
        person.tell("reading", vim.api.nvim_win_get_cursor(chats)[1])
        person.tell("chat", person.text(chat.buffer))
    """)
    assert told["meanwhile"]
    assert told["text"] == CART + "".join(f"# {number}\n" for number in range(1, 21))
    assert told["reading"] == 1, "who reads above is left there"
    assert ("Word by word. " * 200).strip() in told["chat"]


async def test_an_engine_that_is_down_is_told_of_and_used_when_it_is_back(neovim: Plugged, tmp_path: Path) -> None:
    socket = tmp_path / "e.sock"
    neovim.engine = f"unix:{socket}"
    story = asyncio.create_task(
        asyncio.to_thread(
            neovim.play,
            """
            person.ready()
            vim.cmd("Glm What does it do?")
            local chat = require("glm_lsp.chat").of()
            person.wait("it has failed", function() return chat.turn == nil end)
            person.tell("first", person.text())
            vim.fn.writefile({}, "../down")
            person.wait("the engine is back", function() return vim.uv.fs_stat("../up") end)
            vim.cmd("Glm And now?")
            person.wait("it has ended", function() return chat.turn == nil end)
            person.tell("second", person.text())
            """,
        )
    )
    while not (tmp_path / "down").exists():
        await asyncio.sleep(0.02)
        assert not story.done(), await story
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(WireServer(spoken({"content": "It sums prices."})).running(socket))
        (tmp_path / "up").touch()
        told = await story
    assert "e.sock" in told["first"]
    assert told["first"].count("## You") == 2, "one can go on"
    assert "It sums prices." in told["second"]


@pytest.mark.engine
def test_a_review_on_the_real_engine(neovim: Plugged, glm_engine: ForcedEngine) -> None:
    glm_engine.say(
        "Quantities are missing.\nSo I add them.</think>"
        + tool_call("edit_file", file_path="cart.py", old_string=OLD, new_string=NEW),
        "That is all.</think>The total counts quantities.",
        "It is about a cart.</think>It sums prices.",
    )
    neovim.engine = glm_engine.url
    told = neovim.play("""
        person.ready()
        vim.api.nvim_win_set_cursor(0, { 2, 0 })
        vim.cmd("Glm refactor count quantities")
        local review = require("glm_lsp.review")
        person.wait("a hunk is under review", function() return review.waiting() == 1 end)
        person.keys("ga")
        person.tell("text", person.text())
        vim.cmd("Glm What does it do?")
        local chat = require("glm_lsp.chat").of()
        person.wait("it has ended", function() return chat.turn == nil end)
        person.tell("chat", person.text())
    """)
    assert told["text"] == BETTER
    assert "▸ Thought for " in told["chat"]
    assert "It sums prices." in told["chat"]
    assert glm_engine.unsaid == ()
