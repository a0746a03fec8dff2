"""The menu: where each action is offered, by which title, and what a choice asks; and turns of the new actions."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from stories import Story, edit, project, said

from glm_lsp import actions, cli, tools
from glm_lsp.actions import Place
from glm_lsp.conversations import Conversation
from glm_lsp.edits.text import Text
from glm_lsp.engine.scripted import Reply, ScriptedEngine
from glm_lsp.errors import UsageError
from glm_lsp.settings import ActionSettings, Settings
from glm_lsp.terms import Ask, Finding, Found, HunkOpened, Problem, Selection, Warned
from glm_lsp.workspace import Workspace

if TYPE_CHECKING:
    from glm_lsp.terms import ToolSpec

ROOT = Path(__file__).resolve().parent.parent

CART = '''\
"""A cart."""


class Cart:
    def total(self, items):
        """Sums up."""
        return sum(item.price * 2 for item in items)

    def count(self, items):
        return len(items)


LIMIT = 10
'''
CART_TS = """\
export class Cart {
  total(items: Item[]): number {
    return items.reduce((sum, item) => sum + item.price, 0);
  }
}

// The most.
const LIMIT = 10;
"""
UNDEFINED = Problem("cart.py", 7, 16, "error", "pyright", "undefined", '"item" is not\n defined')
UNUSED = Problem("cart.py", 12, 1, "warning", "ruff", "F841", "LIMIT is never used, which is a long story to tell here")


def place(path: str, text: str, first: int = 0, last: int = 0, selected: str = "", at: str = "", **more: Any) -> Place:
    """A caret or a selection on lines; `at` puts the caret at a text on its line."""
    selection = Selection(path, first, last or first, selected) if first else None
    offset = Text(text).offset_of(first) + Text(text).line(first).index(at) if at else None
    return Place(path, text, selection=selection, offset=offset, **more)


def menu(at: Place, **more: Any) -> dict[str, str]:
    return {offer.action: offer.title for offer in actions.offers(at, **more)}


EVERYWHERE = {
    "explain",
    "document",
    "generate_tests",
    "simplify",
    "add_types",
    "convert",
    "review_file",
    "refactor",
    "chat",
}

MENUS: dict[str, tuple[Place, dict[str, str], set[str]]] = {
    "a caret in a documented method": (
        place("cart.py", CART, 7),
        {
            "explain": "Explain Cart.total",
            "generate_tests": "Generate tests for Cart.total",
            "simplify": "Simplify Cart.total",
            "add_types": "Add type hints to Cart.total",
            "convert": "Convert Cart.total to…",
            "review_file": "Review cart.py",
            "refactor": "Change Cart.total…",
            "chat": "Ask about Cart.total…",
            "translate_comments": "Translate comments in cart.py",
        },
        {"fix", "fix_all", "document", "extract_function", "extract_variable", "inline", "rename", "move_to_file", "review_diff"},
    ),
    "a caret in a method without documentation": (place("cart.py", CART, 10), {"document": "Document Cart.count"}, set()),
    "a caret on a method's line": (
        place("cart.py", CART, 9),
        {"inline": "Inline count", "rename": "Rename count everywhere…"},
        {"move_to_file"},
    ),
    "a caret on a class's name": (
        place("cart.py", CART, 4, at="Cart"),
        {"rename": "Rename Cart everywhere…", "move_to_file": "Move Cart to file…"},
        set(),
    ),
    "a caret on a name that is used": (
        place("cart.py", CART, 7, at="price"), {"rename": "Rename price everywhere…", "inline": "Inline price"}, {"move_to_file"},
    ),
    "a caret between words": (place("cart.py", CART, 7, at=" * 2"), {"rename": "Rename price everywhere…"}, set()),
    "a caret at a sign": (place("cart.py", CART, 7, at="* 2"), {}, {"rename", "inline", "move_to_file"}),
    "lines": (
        place("cart.py", CART, 5, 7),
        {
            "extract_function": "Extract function from lines 5–7",
            "explain": "Explain lines 5–7",
            "document": "Document lines 5–7",
            "translate_comments": "Translate comments in lines 5–7",
            "refactor": "Change lines 5–7…",
        },
        {"extract_variable", "rename", "inline", "move_to_file"},
    ),
    "an expression": (
        place("cart.py", CART, 7, selected="item.price * 2"),
        {"extract_variable": "Extract variable", "extract_function": "Extract function from line 7"},
        {"rename", "translate_comments"},
    ),
    "a statement": (place("cart.ts", CART_TS, 3, selected="return 1;"), {"extract_function": "Extract function from line 3"}, {"extract_variable"}),
    "half a bracket": (place("cart.ts", CART_TS, 3, selected="items.reduce("), {}, {"extract_variable"}),
    "a selected name": (place("cart.py", CART, 7, selected="price"), {"rename": "Rename price everywhere…"}, set()),
    "blank lines": (place("cart.py", CART, 2, 3), {}, {"extract_function", "extract_variable"}),
    "no place in the file": (
        place("cart.py", CART),
        {"explain": "Explain cart.py", "document": "Document cart.py", "review_file": "Review cart.py"},
        {"rename", "inline", "simplify", "convert", "extract_function"},
    ),
    "a problem": (place("cart.py", CART, 7, problems=(UNDEFINED,)), {"fix": 'Fix: "item" is not defined'}, {"fix_all"}),
    "two problems": (
        place("cart.py", CART, 7, problems=(UNUSED, UNDEFINED)),
        {"fix": "Fix: LIMIT is never used, which is a long story to tell here (and 1 more)", "fix_all": "Fix all 2 problems in cart.py"},
        set(),
    ),
    "problems elsewhere in the file": (
        place("cart.py", CART, 7, in_file=(UNUSED, UNDEFINED)), {"fix_all": "Fix all 2 problems in cart.py"}, {"fix"},
    ),
    "a repository": (place("cart.py", CART, repository=True), {"review_diff": "Review uncommitted changes"}, set()),
    "TypeScript": (
        place("cart.ts", CART_TS, 3),
        {"explain": "Explain Cart.total", "document": "Document Cart.total", "add_types": "Add types to Cart.total"},
        set(),
    ),
    "JavaScript": (place("a.js", "const x = 1;\n", 1), {"add_types": "Add JSDoc types to a.js"}, {"translate_comments"}),
    "Ruby": (place("a.rb", "def total\n  1\nend\n", 2), {"explain": "Explain total"}, {"add_types", "translate_comments"}),
    "a file of tests": (place("tests/test_cart.py", CART, 7), {}, {"generate_tests"}),
    "a language without a grammar": (
        place("a.kt", "fun f() = 1\n", 1, 1, selected="1 + 2"),
        {"extract_function": "Extract function from line 1", "generate_tests": "Generate tests for line 1", "extract_variable": "Extract variable"},
        {"add_types", "translate_comments"},
    ),
    "prose": (
        place("README.md", "# Cart\n", 1),
        {"explain": "Explain README.md", "refactor": "Change README.md…"},
        {"generate_tests", "document", "rename", "simplify", "extract_function", "add_types"},
    ),
    "data": (place("a.json", '{"total": 1}\n', 1, at="total"), {"explain": "Explain a.json"}, {"rename", "inline", "document"}),
    "a buffer that says its language": (
        place("Untitled-1", "def f():\n    pass\n", 2, language="Python"), {"simplify": "Simplify f"}, set(),
    ),
    "an empty file": (place("a.py", "", 1), {"explain": "Explain a.py"}, {"rename", "simplify"}),
    "a line that is not there": (place("a.py", "x = 1\n", 9), {"explain": "Explain a.py"}, {"rename"}),
}  # fmt: skip


@pytest.mark.parametrize("case", MENUS.values(), ids=MENUS.keys())
def test_the_menu_at_a_place(case: tuple[Place, dict[str, str], set[str]]) -> None:
    at, there, missing = case
    found = menu(at)
    assert {key: found.get(key) for key in there} == there
    assert not missing & found.keys()


def test_the_menu_comes_in_the_order_of_the_list_with_kinds_of_lsp() -> None:
    at = place("cart.py", CART, 9, problems=(UNDEFINED, UNUSED), repository=True)
    found = actions.offers(at)
    order = [action.id for action in actions.ACTIONS]
    assert [offer.action for offer in found] == sorted((o.action for o in found), key=order.index)
    assert [offer.action for offer in found if offer.preferred] == ["fix"]
    assert len(found) > 12


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (["quickfix"], {"fix"}),
        (["refactor.extract"], {"extract_function", "extract_variable"}),
        (["refactor.extract.function"], {"extract_function"}),
        (["refactor.ext"], set()),
        (["refactor.inline", "refactor.move"], {"inline", "move_to_file"}),
        (["source"], {"fix_all", "review_file", "review_diff", "chat"}),
        (["source.fixAll.glm"], {"fix_all"}),
        (["source.fixAll"], set()),  # what editors ask for whenever a file is saved
        (["source.organizeImports"], set()),
        ([], set()),
        ([""], {action.id for action in actions.ACTIONS}),
        (None, {action.id for action in actions.ACTIONS}),
    ],
)
def test_an_editor_gets_the_kinds_it_asks_for(kinds: list[str] | None, expected: set[str]) -> None:
    at = place("a.py", "# one\ntotal = 1\n", 2, selected="total", problems=(UNDEFINED, UNUSED), repository=True)
    on_class = place("a.py", "# one\ndef total():\n    x\n", 2)
    everything = {*menu(at, kinds=kinds), *menu(on_class, kinds=kinds)}
    assert everything == expected


@pytest.mark.parametrize(
    ("at", "action", "expected"),
    [
        (
            place("cart.py", CART, 7, problems=(UNDEFINED,), in_file=(UNDEFINED, UNUSED)),
            "fix",
            Ask("fix", "", ("cart.py",), selections=(Selection("cart.py", 7, 7),), problems=(UNDEFINED,)),
        ),
        (
            place("cart.py", CART, 7, problems=(UNDEFINED,), in_file=(UNDEFINED, UNUSED)),
            "fix_all",
            Ask("fix_all", "", ("cart.py",), problems=(UNDEFINED, UNUSED)),
        ),
        (place("cart.py", CART, 7), "explain", Ask("explain", "", ("cart.py",), selections=(Selection("cart.py", 5, 7),))),
        (place("cart.py", CART), "explain", Ask("explain", "", ("cart.py",))),
        (
            place("cart.py", CART, 5, 7),
            "extract_function",
            Ask("extract_function", "", ("cart.py",), selections=(Selection("cart.py", 5, 7),)),
        ),
        (
            place("cart.py", CART, 7, at="price"),
            "rename",
            Ask("rename", "", ("cart.py",), selections=(Selection("cart.py", 7, 7, "price"),)),
        ),
        (place("cart.py", CART, 7, repository=True), "review_diff", Ask("review_diff", "")),
    ],
)  # fmt: skip
def test_an_offer_carries_its_whole_ask(at: Place, action: str, expected: Ask) -> None:
    (found,) = [offer for offer in actions.offers(at) if offer.action == action]
    assert found.ask == expected == actions.ask_at(actions.find(action), at)
    assert found.needs_instruction == actions.find(action).needs_instruction


FUNCTION = "def f{}(cart):\n    total = 0\n    for item in cart:\n        if item:\n            total += 1\n    return {{\n        1: total,\n    }}\n\n\n"
LONG = "import os\n\n\n" + "".join(FUNCTION.format(number) for number in range(500))
INDENTED = re.sub(r"(?m)^(?=.)", "    ", LONG)
LONG_TS = (
    "class Big {\n"
    + "".join(f"  g{n}(xs: Item[]): number {{\n    const a = 1;\n    return a;\n  }}\n\n" for n in range(900))
    + "}\n"
)
LONG_PHP = "<?php\n" + "".join(f"function g{n}($xs) {{\n    $é = 1;\n    return $é;\n}}\n\n" for n in range(900))


@pytest.mark.parametrize(
    ("path", "text", "line", "expected"),
    [
        ("a.py", LONG, 1001, ("f99", 994, 1001)),
        ("a.py", LONG, 1000, ("f99", 994, 1001)),
        ("a.py", LONG, 1003, None),
        ("a.py", "class Big:\n" + INDENTED, 1005, ("Big.f100", 1005, 1012)),
        ("a.py", LONG.replace("def f100", "@cache\n@other\ndef f100"), 1004, ("f100", 1004, 1013)),
        ("a.ts", LONG_TS, 1004, ("Big.g200", 1002, 1005)),
        ("a.ts", LONG_TS, 1005, ("Big.g200", 1002, 1005)),
        ("a.ts", LONG_TS, 1, None),
        ("a.php", LONG_PHP, 1004, ("g200", 1002, 1005)),
        ("a.py", "x = [\n" + "    1,\n" * 5_000 + "]\n", 2_500, None),
        ("a.js", "x=" + "1+" * 50_000 + "1", 1, None),
    ],
)
def test_in_a_long_file_the_definition_is_told_by_the_block_around_it(
    path: str, text: str, line: int, expected: tuple[str, int, int] | None
) -> None:
    assert len(text) > 16_000
    symbol = place(path, text, line).symbol
    assert (symbol and (symbol.qualified, symbol.first_line, symbol.last_line)) == expected
    if symbol is not None:
        assert text[symbol.name_span.start : symbol.name_span.end] == symbol.name


def test_every_action_is_documented() -> None:
    page = (ROOT / "docs" / "actions.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| `([\w.]+)` \| (on|off) \| (yes|no) \|", page, re.MULTILINE)
    assert rows == [
        (a.id, a.kind, "on" if a.thinking else "off", "yes" if a.headless else "no") for a in actions.ACTIONS
    ]


def test_the_help_of_refactor_lists_what_is_of_use_without_an_editor() -> None:
    words = CliRunner().invoke(cli.commands, ["refactor", "--help"]).output
    listed = re.search(r"What kind of work this is:(.*?)or one of your", " ".join(words.split()))
    assert listed is not None
    named = set(re.findall(r"[a-z_]{4,}", listed[1])) - {"default"}
    assert named == {action.id for action in actions.ACTIONS if action.headless} - {"chat"}


def test_a_place_is_what_an_editor_action_needs(tmp_path: Path) -> None:
    project(tmp_path, a_py="x\n")
    command = ["refactor", "Do it.", "--action", "extract_function", "--root", str(tmp_path), "--engine", "scripted:no"]
    with pytest.raises(UsageError, match="about a place in an editor"):
        CliRunner().invoke(cli.commands, command, catch_exceptions=False, standalone_mode=False)


def test_further_tools_of_actions_exist_and_no_other_conversation_is_offered_them() -> None:
    wanted = {name for action in actions.ACTIONS for name in action.tools}
    assert wanted == {tool.spec.name for tool in tools.beside(wanted)} == {"report_finding"}
    assert not wanted & {tool.spec.name for tool in tools.offered(repository=True, commands=True, person=True)}


# --- the person's own --------------------------------------------------------------------------------------------

LOGGING = "---\ntitle: Log it\nkind: refactor.rewrite.log\nthinking: off\napplies: Python, docs/**\nasks: yes\n---\nAdd log messages.\n"


def own(folder: Path, **files: str | bytes) -> actions.Custom:
    for name, content in files.items():
        (folder / f"{name}.md").write_bytes(content.encode() if isinstance(content, str) else content)
    return actions.own(ActionSettings(folder=str(folder)))


def test_a_prompt_file_is_an_action(tmp_path: Path) -> None:
    found = own(tmp_path, log=LOGGING)
    assert found.notes == ()
    (action,) = found.actions
    assert (action.id, action.title, action.kind, action.thinking) == ("log", "Log it", "refactor.rewrite.log", False)
    assert (action.guidance, action.needs_instruction, action.edits) == ("Add log messages.", True, True)
    assert menu(place("a.py", "x = 1\n", 1), custom=found.actions)["log"] == "Log it"
    assert menu(place("docs/a.txt", "x\n", 1), custom=found.actions)["log"] == "Log it"
    assert "log" not in menu(place("a.ts", "x\n", 1), custom=found.actions)
    assert "log" not in menu(place("a.py", "x\n", 1), custom=found.actions, kinds=["refactor.extract"])
    assert list(menu(place("a.py", "x\n", 1), custom=found.actions))[-1] == "log"
    assert actions.find("log", found.actions) is action


def test_a_prompt_file_needs_no_more_than_words(tmp_path: Path) -> None:
    (action,) = own(tmp_path, to_kebab="Say it in kebab case.\r\nAlways.\r\n").actions
    assert (action.id, action.title, action.kind) == ("to_kebab", "To kebab", "refactor.rewrite")
    assert action.guidance == "Say it in kebab case.\nAlways."
    assert action.thinking
    assert menu(place("a.txt", "x\n"), custom=[action])["to_kebab"] == "To kebab"


@pytest.mark.parametrize(
    ("content", "note", "usable"),
    [
        ("---\ntitle: x\nDo it.\n", "does not end with such a line", False),
        ("---\ntitle: x\n---\n\n", "says nothing to the model", False),
        ("", "says nothing to the model", False),
        (b"\xff\xfe", "is not UTF-8", False),
        ("x" * 40_000, "is longer than", False),
        ("---\ncolour: red\n---\nDo it.\n", "there is no `colour`", True),
        ("---\nthinking: perhaps\n---\nDo it.\n", "`thinking` is `on` or `off`", True),
        ("---\nkind: magic\n---\nDo it.\n", "`kind` begins with", True),
        ("---\nno colon here\n---\nDo it.\n", "there is no `no colon here`", True),
    ],
)
def test_a_broken_prompt_file_becomes_a_note(tmp_path: Path, content: str | bytes, note: str, usable: bool) -> None:
    found = own(tmp_path, mine=content, good="Do it.")
    assert [note in line for line in found.notes] == [True]
    assert [action.id for action in found.actions] == (["good", "mine"] if usable else ["good"])


def test_names_are_given_once(tmp_path: Path) -> None:
    found = own(tmp_path, **{"rename": "Do it.", "not a name": "Do it."})
    assert found.actions == ()
    assert len(found.notes) == 2
    assert any("there is an action rename already" in note for note in found.notes)


def test_a_folder_that_is_not_there_or_none_holds_no_actions(tmp_path: Path) -> None:
    assert actions.own(ActionSettings(folder=str(tmp_path / "none"))) == actions.Custom()
    (tmp_path / "file").write_text("x")
    assert "cannot be read" in actions.own(ActionSettings(folder=str(tmp_path / "file"))).notes[0]


def test_a_workspaces_prompt_files_count_only_where_it_is_trusted(tmp_path: Path) -> None:
    folder = tmp_path / "work" / ".glm-lsp" / "actions"
    folder.mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    own(tmp_path / "mine", log=LOGGING)
    own(folder, log="Theirs.", fmt="Format it.")
    (tmp_path / "secret").write_text("the password")
    (folder / "leak.md").symlink_to(tmp_path / "secret")
    settings = replace(Settings(), actions=ActionSettings(folder=str(tmp_path / "mine"), off=["chat", "fmt"]))
    stranger = Workspace.open(tmp_path / "work", settings)
    assert [action.id for action in stranger.own.actions] == ["log"]
    trusted = Workspace.open(tmp_path / "work", settings, trusted=True)
    assert [action.id for action in trusted.own.actions] == ["log", "fmt"]
    assert trusted.own.actions[0].guidance == "Add log messages."
    offered = {offer.action for offer in trusted.offers(place("a.py", "x\n", 1))}
    assert "log" in offered
    assert not {"chat", "fmt"} & offered


# --- turns -------------------------------------------------------------------------------------------------------


async def play(
    root: Path, ask: Ask, *replies: Reply, settings: Settings | None = None, talk: Conversation | None = None
) -> Story:
    workspace = Workspace.open(root, settings or Settings())
    engine, draft, conversation = ScriptedEngine(replies), workspace.draft(), talk or Conversation()
    turn = workspace.turn(ask, engine, conversation=conversation, draft=draft)
    return Story([event async for event in turn.run()], draft, conversation, engine)


def asked(story: Story) -> str:
    return "\n".join(message.text for message in story.engine.prompts[0].messages if message.role == "user")


def chosen(root: Path, at: Place, action: str, words: str = "") -> Ask:
    """The Ask of an offer, as an editor would send it."""
    workspace = Workspace.open(root, Settings())
    (found,) = [offer for offer in workspace.offers(at) if offer.action == action]
    return replace(found.ask, instruction=words)


def tool_names(specs: tuple[ToolSpec, ...]) -> set[str]:
    return {spec.name for spec in specs}


async def test_a_fix_is_told_the_problem_and_changes_the_file(tmp_path: Path) -> None:
    project(tmp_path, cart_py=CART)
    ask = chosen(tmp_path, place("cart.py", CART, 10, problems=(UNDEFINED,)), "fix")
    story = await play(
        tmp_path,
        ask,
        said(calls=[edit("cart.py", "        return len(items)", "        return sum(1 for _ in items)")]),
        said("Fixed."),
    )
    assert "The editor reports:\n- cart.py, line 7: error:" in asked(story)
    assert "The person points at cart.py, line 10." in asked(story)
    assert story.ended.reason == "done"
    assert b"sum(1 for _ in items)" in (story.after("cart.py") or b"")


async def test_a_rename_that_forgets_a_use_is_sent_back_and_mended(tmp_path: Path) -> None:
    source = "def total(xs):\n    return sum(xs)\n\n\nprint(total([1]))\n"
    project(tmp_path, a_py=source)
    ask = chosen(tmp_path, place("a.py", source, 1, at="total"), "rename", "grand")
    story = await play(
        tmp_path,
        ask,
        said(calls=[edit("a.py", "def total(xs):", "def grand(xs):")]),
        said("Renamed."),
        said(calls=[edit("a.py", "print(total([1]))", "print(grand([1]))")]),
        said("Now all of it."),
    )
    assert [w.code for w in story.of(Warned)] == ["sent-back"]
    assert "a.py, line 5: total is still used here instead of grand: print(total([1]))" in "\n".join(
        message.text for message in story.engine.prompts[2].messages
    )
    assert story.after("a.py") == source.replace("total", "grand").encode()
    assert story.proposal is not None
    assert story.proposal.objections == ()


async def test_a_rename_that_stays_half_done_is_proposed_with_its_objection(tmp_path: Path) -> None:
    source = "def total(xs):\n    return sum(xs)\n\n\nprint(total([1]))\n"
    project(tmp_path, a_py=source)
    settings = replace(Settings(), turn=replace(Settings().turn, repairs=0))
    ask = Ask("rename", "total -> grand", ("a.py",))
    story = await play(
        tmp_path, ask, said(calls=[edit("a.py", "def total(xs):", "def grand(xs):")]), said("Done."), settings=settings
    )
    assert story.proposal is not None
    assert [(o.path, o.line, o.kind) for o in story.proposal.objections] == [("a.py", 5, "rename")]


async def test_an_extraction_that_does_not_call_the_function_is_sent_back(tmp_path: Path) -> None:
    source = "def show(xs):\n    a = xs[0]\n    b = a + 1\n    print(b)\n"
    project(tmp_path, a_py=source)
    ask = chosen(tmp_path, place("a.py", source, 2, 3), "extract_function", "call it second")
    new = "\n\ndef second(xs):\n    a = xs[0]\n    return a + 1\n"
    story = await play(
        tmp_path,
        ask,
        said(calls=[edit("a.py", "    print(b)", f"    print(b){new}".rstrip())]),
        said("Extracted."),
        said(calls=[edit("a.py", "    a = xs[0]\n    b = a + 1\n    print(b)", "    b = second(xs)\n    print(b)")]),
        said("Called now."),
    )
    assert [w.code for w in story.of(Warned)] == ["sent-back"]
    assert story.after("a.py") == f"def show(xs):\n    b = second(xs)\n    print(b){new}".encode()
    assert story.proposal is not None
    assert story.proposal.objections == ()


async def test_an_explanation_changes_nothing_even_where_the_model_tries(tmp_path: Path) -> None:
    project(tmp_path, cart_py=CART)
    ask = chosen(tmp_path, place("cart.py", CART, 10), "explain")
    story = await play(
        tmp_path, ask, said(calls=[edit("cart.py", "LIMIT = 10", "LIMIT = 11")]), said("It counts the items.")
    )
    assert [(r.ok, r.outcome) for r in story.results()] == [(False, "refused: This request is to change nothing")]
    assert story.proposal is None
    assert story.of(HunkOpened) == []
    assert story.ended.reason == "done"
    assert (tmp_path / "cart.py").read_text() == CART
    assert not story.engine.prompts[0].thinking
    assert "report_finding" not in tool_names(story.engine.prompts[0].tools)


def finding(
    path: str, first: int, severity: str = "error", message: str = "It breaks.", **more: Any
) -> tuple[str, dict[str, Any]]:
    return (
        "report_finding",
        {"file_path": path, "first_line": first, "severity": severity, "message": message, **more},
    )


async def test_a_review_tells_what_it_finds_while_it_goes_on(tmp_path: Path) -> None:
    project(tmp_path, cart_py=CART)
    ask = chosen(tmp_path, place("cart.py", CART), "review_file")
    story = await play(
        tmp_path,
        ask,
        said(
            calls=[
                finding("./cart.py", 9, last_line=10, suggestion="Raise."),
                finding("cart.py", 12, "hint", "Is it used?\nNo."),
            ]
        ),
        said("Two things."),
    )
    assert [found.finding for found in story.of(Found)] == [
        Finding("cart.py", 9, 10, "error", "It breaks.", "Raise."),
        Finding("cart.py", 12, 12, "hint", "Is it used?\nNo."),
    ]
    assert [r.outcome for r in story.results()] == ["error: It breaks.", "hint: Is it used?"]
    assert "report_finding" in tool_names(story.engine.prompts[0].tools)
    assert story.proposal is None
    assert story.ended.reason == "done"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (finding("none.py", 1), "none.py"),
        (finding("../out.py", 1), "out"),
        (finding("cart.py", 0), "lines 0 to 0 are not there"),
        (finding("cart.py", 14), "has 13 lines; lines 14 to 14"),
        (finding("cart.py", 9, last_line=8), "lines 9 to 8"),
        (finding("cart.py", 1, "fatal"), "severity"),
        (finding("cart.py", 1, message="  "), "message is empty"),
    ],
)  # fmt: skip
async def test_a_finding_that_points_nowhere_is_refused(
    tmp_path: Path, call: tuple[str, dict[str, Any]], words: str
) -> None:
    project(tmp_path, cart_py=CART)
    story = await play(tmp_path, Ask("review_diff", ""), said(calls=[call]), said("Nothing."))
    (result,) = story.results()
    assert not result.ok
    assert words in result.result
    assert story.of(Found) == []


async def test_an_own_action_runs_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    own(tmp_path / "mine", log=LOGGING)
    project(tmp_path, work__a_py="x = 1\n")
    settings = replace(Settings(), actions=ActionSettings(folder=str(tmp_path / "mine")))
    ask = Ask("log", "Only warnings.", ("a.py",))
    story = await play(
        tmp_path / "work", ask, said(calls=[edit("a.py", "x = 1", "x = 2")]), said("Ok."), settings=settings
    )
    assert asked(story).startswith("Add log messages.\n\nOnly warnings.")
    assert story.after("a.py") == b"x = 2\n"
    with pytest.raises(UsageError, match="needs an instruction"):
        await play(tmp_path / "work", Ask("log", "", ("a.py",)), said("Ok."), settings=settings)


def test_an_action_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no action 'nope'"):
        actions.find("nope")


async def test_a_review_on_the_command_line_reports_what_it_found_to_other_programs(tmp_path: Path) -> None:
    from test_refactor import Person

    person = Person(tmp_path)
    found = {"file_path": "cart.py", "first_line": 2, "last_line": 2, "severity": "warning", "message": "No quantity."}
    engine = person.script({"calls": [{"name": "report_finding", "arguments": found}]}, {"text": "One finding."})
    done = person.run("", "cart.py", "--action", "review_file", "--output", "sarif", engine=engine)
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["runs"][0]["results"]
    assert (result["ruleId"], result["level"], result["message"]["text"]) == ("finding", "warning", "No quantity.")
    assert result["locations"][0]["physicalLocation"]["region"] == {"startLine": 2, "endLine": 2}
