"""The pages for editors: every command is there with arguments that the server takes, and what is to be pasted parses."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from glm_lsp.server.commands import COMMANDS, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "editors"
PAGES = sorted(FOLDER.glob("*.md"))
ROW = re.compile(r"^\| `(glm\.\w+)` \| `(\{.*?\})` \| (.+) \|$", re.MULTILINE)
ARGUMENTS = {field.encode_name for field in msgspec.structs.fields(Where)}


def blocks(language: str) -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for block in re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
            yield page.name, block


def test_every_command_is_in_the_table_in_order() -> None:
    assert [name for name, _, _ in ROW.findall((FOLDER / "README.md").read_text())] == list(COMMANDS)


@pytest.mark.parametrize(("name", "given"), [row[:2] for row in ROW.findall((FOLDER / "README.md").read_text())])
def test_the_arguments_in_the_table_are_ones_that_the_server_takes(name: str, given: str) -> None:
    arguments = json.loads(given)
    assert set(arguments) <= ARGUMENTS, name
    zero = {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 0}}
    filled = json.loads(given.replace('"range": {}', f'"range": {json.dumps(zero)}'))
    msgspec.convert(filled, Where)


def test_every_page_is_in_the_list_and_every_link_leads_somewhere() -> None:
    overview = (FOLDER / "README.md").read_text()
    for page in PAGES:
        assert page.name == "README.md" or f"({page.name})" in overview
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (FOLDER / link).resolve().exists(), f"{page.name}: {link}"


def test_every_command_that_a_page_names_is_one() -> None:
    for page in PAGES:
        named = set(re.findall(r"(?<![.\w])glm\.[a-z]\w+(?!\.?\w)", page.read_text()))
        assert named <= {*COMMANDS}, page.name


def test_what_is_to_be_pasted_parses() -> None:
    pasted = [json.loads(block) for _, block in blocks("json")]
    pasted += [tomllib.loads(block) for _, block in blocks("toml")]
    assert len(pasted) >= 7
    for page, block in blocks("elisp"):
        assert block.count("(") == block.count(")"), page


def test_the_neovim_page_has_the_very_file_that_is_tested() -> None:
    assert [block for page, block in blocks("lua") if page == "neovim.md"] == [
        (FOLDER / "neovim-minimal.lua").read_text()
    ]


def test_what_is_to_be_pasted_into_vim_is_vim_script(tmp_path: Path) -> None:
    for number, (_, block) in enumerate(blocks("vim")):
        script = tmp_path / f"{number}.vim"
        script.write_text(block)
        nvim = str(Path(sys.executable).with_name("nvim"))
        done = subprocess.run(
            [nvim, "--headless", "--clean", "-S", str(script), "-c", "qall!"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert "Error" not in done.stderr, done.stderr
