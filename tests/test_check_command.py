"""`glm-lsp check` as a person runs it: what the server makes of a file, with no engine anywhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from test_refactor import CART, Person

from glm_lsp import actions
from glm_lsp.actions import Place
from glm_lsp.terms import Selection

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def person(tmp_path: Path) -> Person:
    person = Person(tmp_path)
    person.environment["GLM_LSP_ENGINE_URL"] = "http://127.0.0.1:9"  # nobody answers there
    return person


def examine(person: Person, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = person.glm("check", "--json", *arguments)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_a_healthy_file_is_told_with_its_language_and_its_menu(person: Person) -> None:
    code, told = examine(person, "cart.py", "--line", "2")
    assert code == 0
    assert (told["path"], told["language"], told["grammar"], told["encoding"]) == (
        "cart.py",
        "Python",
        "loaded",
        "utf-8",
    )
    assert (told["lines"], told["faults"], told["symbol"]) == (2, [], "total")
    assert told["unreadable"] is None
    assert told["uneditable"] is None
    place = Place("cart.py", CART, selection=Selection("cart.py", 2, 2), offset=CART.index("return"), repository=True)
    assert [one["action"] for one in told["actions"]] == [one.action for one in actions.offers(place)]
    assert told["actions"][0]["title"]


def test_people_get_lines(person: Person) -> None:
    done = person.glm("check", "cart.py", "--line", "2")
    assert done.returncode == 0, done.stderr
    assert "language      Python · grammar: loaded" in done.stdout
    assert "edit          yes" in done.stdout
    assert "syntax        no fault" in done.stdout
    assert "menu          at line 2, in total" in done.stdout
    assert "· explain · refactor.glm.explain" in done.stdout


def test_faults_are_told_with_their_lines(person: Person) -> None:
    (person.root / "cart.py").write_text(CART + "def broken(:\n    pass\n")
    code, told = examine(person, "cart.py")
    assert code == 0, "a broken file may be edited; that is how it is mended"
    assert told["faults_in_all"] >= 1
    assert told["faults"][0][0] == 3
    assert "cart.py:3: " in person.glm("check", "cart.py").stdout


def test_a_language_that_is_not_known_has_no_grammar(person: Person) -> None:
    (person.root / "notes.zzz").write_text("words\n")
    code, told = examine(person, "notes.zzz")
    assert (code, told["language"], told["grammar"]) == (0, "", "none")


def test_an_empty_file_is_a_file(person: Person) -> None:
    (person.root / "empty.py").write_text("")
    code, told = examine(person, "empty.py")
    assert (code, told["lines"]) == (0, 0)


@pytest.mark.parametrize(
    ("name", "content", "readable", "code"),
    [
        (".env", b"KEY=1\n", False, "protected"),
        ("AGENTS.md", b"Be brief.\n", True, "protected"),
        ("locked.py", b"x = 1\n", True, "protected"),
        ("build/made.py", b"x = 1\n", False, "protected"),
        ("image.bin", b"\x00\x01\x02", False, "not-text"),
    ],
    ids=["a secret", "a file that steers", "by the person", "ignored by git", "no text"],
)
def test_a_file_that_may_not_be_edited_says_why(
    person: Person, name: str, content: bytes, readable: bool, code: str
) -> None:
    (person.root / ".gitignore").write_text("build/\n")
    (person.root / ".glm-lsp.toml").write_text('[edits]\nprotected = ["locked.py"]\n')
    path = person.root / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    status, told = examine(person, name)
    assert status == 1
    assert (told["unreadable"] is None) == readable
    assert told["uneditable"]["code"] == code
    assert told["uneditable"]["message"]
    shown = person.glm("check", name).stdout
    assert f"edit          no: {told['uneditable']['message']}" in shown
    assert path.read_bytes() == content


def test_a_link_out_of_the_workspace_is_not_followed(person: Person) -> None:
    (person.tmp / "elsewhere.py").write_text("x = 1\n")
    (person.root / "link.py").symlink_to(person.tmp / "elsewhere.py")
    status, told = examine(person, "link.py")
    assert (status, told["unreadable"]["code"]) == (1, "outside-workspace")


def test_the_instructions_are_those_that_a_turn_would_read(person: Person) -> None:
    (person.root / "deep" / "er").mkdir(parents=True)
    for name in ("AGENTS.md", "deep/AGENTS.md", "deep/er/x.py", "other.py"):
        (person.root / name).write_text("x = 1\n")
    person.git("add", ".")
    assert examine(person, "deep/er/x.py")[1]["instructions"] == ["AGENTS.md", "deep/AGENTS.md"]
    assert examine(person, "other.py")[1]["instructions"] == ["AGENTS.md"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere.py",), "There is no file nowhere.py."),
        ((".",), "is a folder"),
        (("cart.py", "--line", "99"), "cart.py has 2 lines."),
    ],
    ids=["missing", "a folder", "a line that is not there"],
)
def test_what_cannot_be_checked_is_said_in_a_sentence(person: Person, arguments: tuple[str, ...], says: str) -> None:
    done = person.glm("check", *arguments)
    assert done.returncode == 4
    assert says in done.stderr
    assert "Traceback" not in done.stderr
