"""What a person says to the Neovim plug-in and hears from it: mentions, prompts, events, folds, the health page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from neovim.plugged import MONEY, Plugged, changed, decimals, plugged
from test_real_neovim import SIMPLIFIES
from test_refactor import BETTER, CART, edit

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def neovim(tmp_path: Path) -> Plugged:
    return plugged(tmp_path)


# --- what is mentioned -------------------------------------------------------------------------------------------

COMPLETES = """
vim.o.virtualedit = "onemore"
local function completed(text)
  vim.api.nvim_buf_set_lines(0, -2, -1, false, { text })
  vim.api.nvim_win_set_cursor(0, { vim.api.nvim_buf_line_count(0), #text })
  local complete = require("glm_lsp.mentions").complete
  local start = complete(1, "")
  if start < 0 then return {} end
  return vim.tbl_map(function(one) return one.word .. " " .. one.menu end, complete(0, text:sub(start + 1)))
end
"""


def test_what_can_be_mentioned_is_completed(neovim: Plugged) -> None:
    neovim.has("shop.py", "def discounted(price):\n    return price\n")
    told = neovim.play(
        COMPLETES
        + """
        person.ready()
        vim.cmd("Glm chat")
        person.tell("function", vim.bo.omnifunc)
        person.tell("all", completed("why @"))
        person.tell("file", completed("why @sho"))
        person.tell("name", completed("why @tot"))
        person.tell("none", completed("me@cart and more"))
        person.keys("o@sho<C-x><C-o><Esc>")
        person.tell("typed", vim.api.nvim_get_current_line())
        """
    )
    assert "glm_lsp.mentions" in told["function"]
    kinds = {"@diagnostics", "@git", "@selection"}
    assert kinds | {"@cart.py", "@shop.py"} <= {one.split()[0] for one in told["all"]}
    assert told["file"][0] == "@shop.py file"
    assert "@total name" in told["name"]
    assert told["none"] == []
    assert told["typed"] == "@shop.py"


def test_the_model_reads_what_is_mentioned(neovim: Plugged) -> None:
    neovim.has("shop.py", "def discounted(price):\n    return price * 0.9\n")
    neovim.engine = neovim.person.script(
        {"when": "quantities are missing", "text": "Told of the problem."},
        {"when": "-    return sum(i.price for i in items)", "text": "Told of the changes."},
        {"when": "return price * 0.9", "text": "Told of the file."},
    )
    told = neovim.play("""
        person.ready()
        local chats = require("glm_lsp.chat")
        local function ask(words, answer)
          vim.cmd("Glm " .. words)
          local chat = chats.of()
          person.wait(answer, function() return chat.turn == nil and person.text():find(answer, 1, true) end)
        end
        local space = vim.api.nvim_create_namespace("someone")
        vim.diagnostic.set(space, 0, { { lnum = 1, col = 0, message = "quantities are missing" } })
        ask("Explain @diagnostics", "Told of the problem.")
        vim.cmd("wincmd t | 2delete | silent write")
        ask("Explain @git", "Told of the changes.")
        vim.cmd("wincmd t")
        ask("Explain @shop.py.", "Told of the file.")
        vim.cmd("wincmd t")
        person.keys("ggV<Esc>")
        local meant = require("glm_lsp.mentions").meant("Explain @selection")
        person.tell("selection", meant.range)
        person.tell("cart", meant.buffer == vim.fn.bufnr("cart.py"))
    """)
    assert told["selection"] == {"start": {"line": 0, "character": 0}, "end": {"line": 1, "character": 0}}
    assert told["cart"]


def test_a_symbol_is_found_where_a_language_server_knows_it(neovim: Plugged) -> None:
    neovim.has("shop.py", "def discounted(price):\n    return price\n")
    told = neovim.play(
        COMPLETES
        + """
        person.ready()
        local mentions = require("glm_lsp.mentions")
        person.wait("the index knows it", function() return #mentions.meant("see @discounted").mentions == 1 end)
        local meant = mentions.meant("see @discounted")
        person.tell("file", vim.fs.basename(meant.mentions[1]))
        person.tell("words", meant.words)
        vim.cmd("Glm chat")
        person.tell("symbol", completed("why @discou"))
        """,
        first="vim.lsp.config('glm_lsp', { init_options = { index = { symbols = true } } })",
    )
    assert told["file"] == "shop.py"
    assert told["words"].endswith("- `discounted` is in shop.py, line 1")
    assert told["symbol"] == ["@discounted symbol in shop.py"]


# --- what is asked of the person ---------------------------------------------------------------------------------


def test_a_question_of_the_model_is_a_list_with_room_for_other_words(neovim: Plugged) -> None:
    asks = {"name": "ask_user", "arguments": {"question": "Which currency?", "options": ["euro", "dollar"]}}
    neovim.engine = neovim.person.script(
        {"calls": [asks]}, {"when": "euro", "calls": [asks]}, {"when": "yen", "text": "Yen it is."}
    )
    told = neovim.play("""
        person.ready()
        person.pick("euro", "Something else")
        vim.ui.input = function(_, done) done("yen") end
        vim.cmd("Glm Which currency is it?")
        local chat = require("glm_lsp.chat").of()
        person.wait("it is answered", function() return chat.turn == nil and person.text():find("Yen it is.", 1, true) end)
    """)
    assert [one["prompt"] for one in told["shown"]] == ["Which currency?"] * 2
    assert told["shown"][0]["lines"] == ["euro", "dollar", "Something else…"]


def test_where_no_server_is_found_it_is_said_once_and_offered_when_one_asks(neovim: Plugged, tmp_path: Path) -> None:
    # The plug-in alone, outside a clone, and no path that leads to the server.
    alone = tmp_path / "plugin"
    (tmp_path / "bin").mkdir()
    alone.symlink_to(neovim.person.environment["GLM_PLUGIN"])
    told = neovim.play(
        """
        local said = 0
        local notify = vim.notify
        vim.notify = function(words, ...) said = said + (words:find("not installed", 1, true) and 1 or 0); notify(words, ...) end
        require("glm_lsp.server").clone = function() end
        vim.env.PATH = "../bin"
        vim.cmd("edit cart.py | edit other.py | edit cart.py")
        vim.wait(100)
        person.tell("said", said)
        local installed = 0
        require("glm_lsp.install").run = function() installed = installed + 1 end
        person.pick("Not now", "Install it")
        vim.cmd("Glm Hello")
        person.tell("chat", person.text())
        vim.cmd("wincmd t | Glm refactor something")
        person.tell("installed", installed)
        vim.cmd("checkhealth glm_lsp")
        person.tell("health", person.text())
        vim.g.glm_lsp = { cmd = { "/nowhere/glm-lsp" } }
        vim.cmd("wincmd t")
        person.tell("wrong", { pcall(vim.cmd, "Glm refactor something") })
        """,
        first="vim.env.GLM_PLUGIN = '../plugin'; vim.env.PATH = '../bin'; require('vim.lsp').enable = function() end",
        file="README",
    )
    assert told["said"] <= 1
    assert told["installed"] == 1
    assert [one["lines"] for one in told["shown"]] == [["Install it", "Not now"]] * 2
    assert "Hello" in told["chat"], "what was written is not lost"
    assert "glm-lsp is not installed" in told["health"]
    assert ":Glm install" in told["health"]
    assert "/nowhere/glm-lsp cannot be run" in told["wrong"][1]


def test_the_health_page_says_that_the_engine_is_down_and_what_to_do(neovim: Plugged, tmp_path: Path) -> None:
    neovim.engine = f"unix:{tmp_path}/nobody.sock"
    told = neovim.play("""
        person.ready()
        vim.cmd("checkhealth glm_lsp")
        person.tell("health", person.text())
    """)
    ours, _, engine = told["health"].partition("the engine ~")
    assert "ERROR" not in ours
    failed = engine[engine.index("ERROR engine:") :]
    assert "nobody.sock" in failed
    assert "ADVICE" in failed


# --- what the person hears ---------------------------------------------------------------------------------------


def test_a_persons_own_autocommands_hear_of_a_turn(neovim: Plugged) -> None:
    neovim.engine = neovim.person.script(*SIMPLIFIES, chop=4, delay=0.01)
    told = neovim.play("""
        local heard = {}
        vim.api.nvim_create_autocmd("User", { pattern = "Glm*", callback = function(event)
          local type = vim.tbl_get(event, "data", "event", "type")
          if heard[#heard] ~= event.match .. " " .. tostring(type) then
            table.insert(heard, event.match .. " " .. tostring(type))
          end
        end })
        person.ready()
        person.after_a_turn(function() vim.cmd("Glm refactor count quantities") end)
        person.tell("heard", vim.tbl_filter(function(one) return not one:find("GlmStatus") end, heard))
        person.wait("it is under review", function() return require("glm_lsp.review").waiting() == 1 end)
        person.tell("statusline", require("glm_lsp").statusline())
    """)
    heard = told["heard"]
    assert heard[0] == "GlmStart start"
    assert heard[-1] == "GlmDone end"
    assert {"GlmDelta thinking", "GlmDelta hunk", "GlmDiff proposal"} <= set(heard)
    assert told["statusline"] == "GLM · 1 to review"


def test_the_status_line_says_how_much_of_the_context_is_used_and_reused(neovim: Plugged) -> None:
    usage = {"read": 20_000, "written": 400, "cached": 19_000}
    neovim.engine = neovim.person.script({"text": "A cart.", "usage": usage})
    told = neovim.play("""
        person.ready()
        vim.cmd("Glm What is this?")
        person.wait("it says so", function()
          return require("glm_lsp").statusline() == "GLM · ready · 11 % of context · 95 % reused"
        end)
        person.tell("there", true)
    """)
    assert told["there"]


def test_a_thought_is_folded_with_its_seconds_and_tokens_in_every_window(neovim: Plugged) -> None:
    says = {"thinking": "Hm.\nLet me see.", "text": "It sums prices.", "usage": {"written": 12, "thought": 1840}}
    neovim.engine = neovim.person.script(says)
    told = neovim.play("""
        local function folds()
          local found = {}
          for line = 1, vim.api.nvim_buf_line_count(0) do
            if vim.fn.foldclosed(line) == line then table.insert(found, vim.fn.foldtextresult(line)) end
          end
          return found
        end
        person.ready()
        vim.cmd("Glm What does it do?")
        local chat = require("glm_lsp.chat").of()
        person.wait("it has ended", function() return chat.turn == nil end)
        person.tell("first", folds())
        vim.cmd("close | Glm chat")
        person.tell("again", folds())
        vim.api.nvim_buf_delete(chat.buffer, { force = true })
        person.pick("What does it do")
        vim.cmd("Glm sessions")
        person.wait("it is there", function() return person.text():find("It sums prices.", 1, true) end)
        person.tell("resumed", folds())
        person.wait("it is coloured", function() return vim.b.ts_highlight end)
    """)
    (fold,) = told["first"]
    assert fold.startswith("▸ Thought for ")
    assert fold.endswith(" s · 1,840 tokens")
    assert told["again"] == [fold]
    assert told["resumed"] == ["▸ Thought"], "how long it was is not kept"


# --- one review after the other ----------------------------------------------------------------------------------


def test_what_is_proposed_during_a_review_comes_after_it(neovim: Plugged) -> None:
    neovim.has("shop.py", CART)
    neovim.engine = neovim.person.script(
        {"calls": [edit("cart.py")]}, {"text": "Counted."}, {"calls": [edit("shop.py")]}, {"text": "Counted too."}
    )
    told = neovim.play("""
        person.ready()
        local review = require("glm_lsp.review")
        person.after_a_turn(function() vim.cmd("Glm refactor count quantities") end)
        person.wait("the first is under review", function() return review.waiting() == 1 end)
        vim.cmd("edit shop.py")
        person.after_a_turn(function() vim.cmd("Glm refactor the same here") end)
        person.tell("waits", person.text())
        vim.cmd("buffer cart.py")
        person.keys("ga")
        person.tell("over", review.waiting())
        vim.cmd("buffer shop.py | Glm review")
        person.wait("the second is under review", function() return review.waiting() == 1 end)
        person.tell("bar", review.winbar())
        person.keys("ga")
        person.tell("text", person.text())
        vim.cmd("Glm review")
        person.tell("nothing", person.said("nothing is under review"))
    """)
    assert told["waits"] == CART
    assert "over" not in told
    assert "the same here" in told["bar"]
    assert told["text"] == BETTER
    assert "shows the next of 1" in told["messages"]
    assert told["nothing"]


def test_undo_leaves_what_was_typed_since_and_says_what_stays(neovim: Plugged) -> None:
    neovim.has("cart.py", MONEY)
    neovim.engine = neovim.person.script({"calls": decimals()}, {"text": "Prices are Decimal."})
    told = neovim.play("""
        person.ready()
        vim.cmd("Glm refactor use Decimal for money")
        local review = require("glm_lsp.review")
        person.wait("three hunks are under review", function() return review.waiting() == 3 end)
        person.keys("gA")
        person.keys("Go# mine<Esc>")
        vim.fn.search("price: Decimal")
        person.keys("A  # of an item<Esc>")
        vim.cmd("Glm undo")
        person.tell("text", person.text())
        person.keys("u")
        person.tell("back", person.text())
    """)
    mine = MONEY.replace("price: float", "price: Decimal  # of an item") + "# mine\n"
    assert told["text"] == mine
    assert told["back"] == changed(1, 2, 3).replace("price: Decimal\n", "price: Decimal  # of an item\n") + "# mine\n"
    assert "GLM: 1 left as they are: you changed them since" in told["messages"]
