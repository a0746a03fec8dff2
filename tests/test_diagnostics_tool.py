"""The tool that says what is wrong: our own syntax check, and what an editor told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from stories import edit, play, project, said

from glm_lsp import tools
from glm_lsp.edits.place import place
from glm_lsp.errors import Missing, OutsideWorkspace
from glm_lsp.settings import Settings
from glm_lsp.terms import Problem
from glm_lsp.tools.diagnostics import PROBLEMS_AT_ONCE
from glm_lsp.tools.tool import RESULT_LIMIT, ToolContext
from glm_lsp.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

TOTAL = "def total(items):\n    return sum(i.price for i in items)\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return project(
        tmp_path / "work",
        cart_py=TOTAL,
        broken_py="x = 1\n\ndef total(:\n    return 1\n",
        empty_py="def total():\nx = 1\n",
        notes_txt="not code (\n",
    )


def context(root: Path, *problems: Problem) -> ToolContext:
    workspace = Workspace.open(root, Settings())
    made = ToolContext(workspace.draft(), workspace.listing)
    return replace(made, problems=lambda path: tuple(p for p in problems if p.path == path)) if problems else made


def ask(where: ToolContext, **arguments: Any) -> tools.Outcome:
    tool = tools.find("diagnostics")
    assert tool is not None
    return tool.run(where, arguments)


def change(where: ToolContext, path: str, old: str, new: str) -> None:
    placed = place(where.draft.read(path), path, old, new)
    where.draft.put(path, placed.edit)  # type: ignore[union-attr]


def problem(line: int, message: str, severity: Any = "error", path: str = "cart.py", column: int = 5) -> Problem:
    return Problem(path, line, column, severity, "pyright", "reportX", message)


def test_a_sound_file_has_nothing_wrong(root: Path) -> None:
    assert ask(context(root), file_path="cart.py").text == "Nothing is known to be wrong with cart.py."


@pytest.mark.parametrize(
    ("path", "start"),
    [("broken.py", "broken.py:3 error (syntax): "), ("empty.py", "empty.py:2 error (syntax): expected an indented")],
    ids=["grammar", "blocks of Python"],
)
def test_syntax_errors_that_are_on_disk_are_told_too(root: Path, path: str, start: str) -> None:
    outcome = ask(context(root), file_path=path)
    assert outcome.text.startswith(start)
    assert outcome.words == "1 problem"
    assert outcome.ok


def test_the_draft_is_what_is_checked(root: Path) -> None:
    where = context(root)
    change(where, "cart.py", "def total(items):", "def total(items:")
    assert ask(where, file_path="./cart.py").text.startswith("cart.py:1 error (syntax): ")
    change(where, "cart.py", "def total(items:", "def total(all_items):")
    assert ask(where, file_path="cart.py").words == "nothing"


def test_without_a_path_the_changed_files_are_looked_at_and_no_others(root: Path) -> None:
    where = context(root)
    assert ask(where).words == "nothing changed"
    where.draft.read("broken.py")
    change(where, "cart.py", "def total(items):", "def total(items:")
    where.draft.write("new.py", "class A(:\n    pass\n")
    lines = ask(where).text.splitlines()
    assert {line.split(":")[0] for line in lines} == {"cart.py", "new.py"}
    assert ask(where, file_path="new.py").words == "1 problem"


def test_an_editor_says_more_than_the_grammar_and_errors_come_first(root: Path) -> None:
    where = context(
        root,
        problem(2, "b"),
        problem(2, "a\n  in two lines"),
        problem(1, "unused", "hint", column=1),
        problem(9, "other file", path="broken.py"),
    )
    assert ask(where, file_path="cart.py").text.splitlines() == [
        "cart.py:2:5 error (pyright reportX): a in two lines",
        "cart.py:2:5 error (pyright reportX): b",
        "cart.py:1:1 hint (pyright reportX): unused",
    ]


def test_it_says_that_the_editor_has_not_seen_the_edits(root: Path) -> None:
    where = context(root, problem(2, "no attribute price"))
    assert "before your edits" not in ask(where, file_path="cart.py").text
    change(where, "cart.py", "i.price", "i.cost")
    assert ask(where, file_path="cart.py").text.splitlines()[-1] == (
        "[What the editor said is of these files as they were before your edits: cart.py]"
    )


def test_a_lost_definition_is_told(root: Path) -> None:
    where = context(root)
    where.draft.read("cart.py")
    where.draft.write("cart.py", "x = 1\n")
    assert "cart.py warning (lost-symbol): function total is no longer defined" in ask(where).text


def test_a_language_without_a_grammar_is_named(root: Path) -> None:
    text = ask(context(root), file_path="notes.txt").text
    assert text.splitlines()[-1] == "[Nobody here can check the syntax of: notes.txt]"


def test_the_result_is_bounded_whatever_the_editor_says(root: Path) -> None:
    where = context(root, *(problem(n, f"{n} " + "wrong " * 10_000) for n in range(1, 5_001)))
    outcome = ask(where, file_path="cart.py")
    assert outcome.words == "5000 problems"
    assert len(outcome.text) <= RESULT_LIMIT
    assert len(outcome.text.splitlines()) == PROBLEMS_AT_ONCE + 1
    assert outcome.text.endswith("[4900 more]")


@pytest.mark.parametrize(("path", "error"), [("nowhere.py", Missing), ("../../etc/passwd", OutsideWorkspace)])
def test_a_file_that_is_not_ours_is_refused(root: Path, path: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        ask(context(root), file_path=path)


async def test_the_model_can_call_it_in_a_turn(root: Path) -> None:
    broken = edit("cart.py", "    return sum(i.price for i in items)", "    return sum(i.price for i in items")
    mended = edit("cart.py", "    return sum(i.price for i in items", "    return sum(i.cost for i in items)")
    story = await play(
        root,
        said(calls=[broken, ("diagnostics", {})]),
        said(calls=[mended, ("diagnostics", {"file_path": "cart.py"})]),
        said("Done."),
        paths=("cart.py",),
    )
    results = story.results()
    assert [result.ok for result in results] == [True, True, True, True]
    assert results[1].result.startswith("cart.py:2 error (syntax): ")
    assert results[3].outcome == "nothing"
