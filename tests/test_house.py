"""The house checks itself: sizes, names, docstrings, generated files, and the README's commands."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from glm_lsp import actions, cli, tools

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted((ROOT / "glm_lsp").rglob("*.py"))
BANNED = {"utils", "util", "helpers", "helper", "manager", "base", "common", "misc", "core"}
MOST_LINES = 500
"""Modules aim at 80 to 400 lines; past this one is doing two things."""


def readme_commands() -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [
        line.removeprefix("$ ").strip() for line in joined.splitlines() if line.strip() and not line.startswith("#")
    ]


@pytest.mark.parametrize("module", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
class TestModule:
    def test_is_of_a_size_one_can_hold_in_mind(self, module: Path) -> None:
        assert len(module.read_text(encoding="utf-8").splitlines()) <= MOST_LINES

    def test_has_a_name_that_says_something(self, module: Path) -> None:
        assert not BANNED & set(module.relative_to(ROOT).with_suffix("").parts)

    def test_says_what_it_is_for_and_what_it_never_does(self, module: Path) -> None:
        docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))
        assert docstring, "a module says in one line what it is for"
        assert re.search(r"^Never ", docstring, re.MULTILINE), "a module says in one line what it never does"


def test_generated_files_are_current() -> None:
    check = subprocess.run(
        [sys.executable, ROOT / "editor-clients" / "generate.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 0, check.stderr


def test_every_tool_declares_a_type_for_every_parameter_and_a_closed_schema() -> None:
    for tool in tools.TOOLS:
        parameters = tool.spec.parameters
        assert parameters["additionalProperties"] is False
        assert set(parameters["required"]) <= set(parameters["properties"])
        for name, described in parameters["properties"].items():
            assert described.get("type"), f"{tool.spec.name}.{name}"
            assert described.get("description"), f"{tool.spec.name}.{name}"


def test_every_action_has_a_place_in_the_menu_of_lsp_kinds() -> None:
    for action in actions.ACTIONS:
        assert re.match(r"^(quickfix|refactor|source)(\.|$)", action.kind), action.id
        assert action.preset in {"default", "coding", "agent"}


def test_the_readme_has_commands_to_check() -> None:
    commands = readme_commands()
    assert "make try" in commands
    assert "make test" in commands


@pytest.mark.parametrize("command", readme_commands())
def test_a_command_of_the_readme_is_one_that_exists(command: str) -> None:
    words = shlex.split(command, comments=True)
    while words and "=" in words[0]:
        words.pop(0)  # a variable in front
    program = Path(words[0]).name
    if program == "make":
        subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, check=True, capture_output=True)
    elif program == "glm-lsp":
        parse(cli.spelled(words[1:]))
    elif words[:3] == [".venv/bin/python", "-m", "benchmarks"] or words[:3] == ["python", "-m", "benchmarks"]:
        assert (
            not words[3:] or words[3] == "--list" or (ROOT / "benchmarks" / f"{words[3].replace('-', '_')}.py").exists()
        )
    else:
        assert program in {"git", "cd", "export", "vllm", "pip", "pipx"}, f"{program}: teach this test to check it"


def parse(words: list[str]) -> None:
    """Parses a command line of ours as click would, without running it."""
    group: click.Command = cli.commands
    context = group.make_context("glm-lsp", list(words)) if words[:1] != ["--version"] else None
    while context is not None and isinstance(context.command, click.Group) and context._protected_args:
        name = context._protected_args[0]
        command = context.command.get_command(context, name)
        assert command is not None, f"there is no command {name}"
        context = command.make_context(name, list(context.args), parent=context)
