"""The tools that look around and the one that runs commands, each in a real folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stories import edit, play, project, said

from glm_lsp import tools
from glm_lsp.edits.place import place
from glm_lsp.errors import BadArguments, FileRefused
from glm_lsp.settings import Settings, ToolSettings
from glm_lsp.terms import ToolCalled, ToolReturned
from glm_lsp.tools import processes
from glm_lsp.tools.confine import confined, walled
from glm_lsp.tools.tool import RESULT_LIMIT, ToolContext
from glm_lsp.workspace import Workspace

CART = (
    "class Cart:\n"
    "    @property\n"
    "    def total(self):\n"
    '        """The total of it all."""\n'
    "        return sum(i.price for i in self.items)\n"
    "\n\n"
    "def subtotal(cart):\n"
    "    return cart.total  # not the total of all\n"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return project(
        tmp_path / "work", cart_py=CART, lib__shop_js="function total(a) { return a.total }\n", notes_md="total\n"
    )


def context(root: Path, settings: Settings | None = None) -> ToolContext:
    settings = settings or Settings()
    workspace = Workspace.open(root, settings)
    return ToolContext(workspace.draft(), workspace.listing, settings.tools)


def call(where: ToolContext | Path, tool_name: str, /, **arguments: Any) -> tools.Outcome:
    tool = tools.find(tool_name)
    assert tool is not None
    return tool.run(context(where) if isinstance(where, Path) else where, arguments)


def change(where: ToolContext, path: str, old: str, new: str) -> None:
    placed = place(where.draft.read(path), path, old, new)
    where.draft.put(path, placed.edit)  # type: ignore[union-attr]


def git(root: Path, *arguments: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=Ann", "-c", "user.email=ann@example.org", *arguments],
        cwd=root,
        check=True,
        capture_output=True,
    )


@pytest.fixture
def repository(root: Path) -> Path:
    git(root, "init", "-q", "-b", "main")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "Begin the shop")
    return root


class TestFindSymbol:
    def test_finds_a_method_with_its_place_kind_and_line(self, root: Path) -> None:
        assert call(root, "find_symbol", name="Cart.total").text == "cart.py:3 method Cart.total | def total(self):"

    def test_names_that_are_exactly_so_come_before_those_that_contain_it(self, root: Path) -> None:
        lines = call(root, "find_symbol", name="total").text.split("\n")
        assert [line.split(" |")[0] for line in lines] == [
            "cart.py:3 method Cart.total",
            "lib/shop.js:1 function total",
            "cart.py:8 function subtotal",
        ]

    def test_sees_the_draft(self, root: Path) -> None:
        where = context(root)
        change(where, "cart.py", "def subtotal(cart):", "def net(cart):")
        assert "cart.py:8 function net" in call(where, "find_symbol", name="net").text
        assert not call(where, "find_symbol", name="subtotal").text.startswith("cart.py")

    def test_is_bounded(self, tmp_path: Path) -> None:
        root = project(tmp_path / "w", many_py="".join(f"def f_{n}(): pass\n" for n in range(500)))
        text = call(root, "find_symbol", name="f_").text
        assert len(text.splitlines()) == 61
        assert "[440 more" in text

    def test_an_empty_name_is_refused(self, root: Path) -> None:
        with pytest.raises(BadArguments):
            call(root, "find_symbol", name=" . ")


class TestFindReferences:
    def test_tells_code_from_strings_comments_and_text(self, root: Path) -> None:
        text = call(root, "find_references", name="total").text
        code, _, other = text.partition("In strings")
        assert [line.split("|")[0] for line in code.splitlines()] == ["cart.py:3", "cart.py:9", "lib/shop.js:1"]
        assert [line.split("|")[0] for line in other.splitlines()[1:]] == ["cart.py:4", "notes.md:1"]

    def test_takes_whole_words_only(self, root: Path) -> None:
        assert call(root, "find_references", name="tota").words == "nothing"

    def test_what_is_no_name_is_refused(self, root: Path) -> None:
        with pytest.raises(BadArguments):
            call(root, "find_references", name="a b")

    def test_is_bounded(self, tmp_path: Path) -> None:
        root = project(tmp_path / "w", many_py="x = 1\n" * 500, more_md="x\n" * 100)
        text = call(root, "find_references", name="x").text
        assert len(text.splitlines()) == 100 + 1 + 1 + 20 + 1


class TestSearch:
    """Every search gives the same with ripgrep and without."""

    @pytest.fixture(params=["with what is installed", "without ripgrep"])
    def where(self, root: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ToolContext:
        if request.param == "without ripgrep":
            monkeypatch.setenv("PATH", os.devnull)
        project(root, crlf_py="a = 1\r\nb = 2\r\n", latin_py="# coding: latin-1\ns = 'é'\n".encode("latin-1"))
        return context(root)

    @pytest.mark.parametrize(
        ("pattern", "lines"),
        [
            ("total", ["cart.py:3", "cart.py:4", "cart.py:8", "cart.py:9", "lib/shop.js:1", "notes.md:1"]),
            (r"^def \w+\(", ["cart.py:8"]),
            (r"(?<=sub)total", ["cart.py:8"]),
            (r"\bself\b", ["cart.py:3", "cart.py:5"]),
            (r"Cart:\s+@property", ["cart.py:1"]),
            ("é", ["latin.py:2"]),
            (r"= \d\s*$", ["crlf.py:1", "crlf.py:2"]),
            ("--pre=/bin/true", []),
            ("[x", None),
        ],
    )
    def test_finds(self, where: ToolContext, pattern: str, lines: list[str] | None) -> None:
        if lines is None:
            with pytest.raises(BadArguments):
                call(where, "search", pattern=pattern)
            return
        found = call(where, "search", pattern=pattern).text
        assert [line.split("|")[0] for line in found.splitlines() if "|" in line] == lines

    def test_sees_files_as_the_draft_has_them_and_those_it_made(self, where: ToolContext) -> None:
        change(where, "cart.py", "def subtotal(cart):", "def zebra(cart):")
        where.draft.write("new.py", "zebra = 1\n")
        assert call(where, "search", pattern="zebra").text == "cart.py:8|def zebra(cart):\nnew.py:1|zebra = 1"
        assert call(where, "search", pattern="subtotal").words == "nothing"

    def test_a_secret_is_never_found(self, where: ToolContext, root: Path) -> None:
        (root / ".env").write_text("PASSWORD=zebra\n")
        assert call(context(root), "search", pattern="zebra").words == "nothing"

    def test_a_link_put_in_the_place_of_a_file_leads_nowhere(self, where: ToolContext, root: Path) -> None:
        (root.parent / "outside.md").write_text("zebra\n")
        (root / "notes.md").unlink()
        (root / "notes.md").symlink_to(root.parent / "outside.md")
        assert call(where, "search", pattern="zebra").words == "nothing"


class TestGit:
    def test_status_log_show_and_blame(self, repository: Path) -> None:
        (repository / "notes.md").write_text("total\nmore\n")
        assert " M notes.md" in call(repository, "git", subcommand="status").text
        assert "Begin the shop" in call(repository, "git", subcommand="log").text
        assert "+class Cart:" in call(repository, "git", subcommand="show", revision="HEAD").text
        assert "+more" in call(repository, "git", subcommand="diff", file_path="notes.md").text
        assert "Ann" in call(repository, "git", subcommand="blame", file_path="cart.py", lines="1,2").text

    @pytest.mark.parametrize("revision", ["--output=x", "-O", "HEAD:cart.py", "a b", "", "$(id)"])
    def test_a_revision_cannot_be_an_option_or_a_file(self, repository: Path, revision: str) -> None:
        before = sorted(repository.iterdir())
        with pytest.raises(BadArguments):
            call(repository, "git", subcommand="diff", revision=revision)
        assert sorted(repository.iterdir()) == before

    @pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", ".git/config", ".env"])
    def test_paths_stay_in_the_jail(self, repository: Path, path: str) -> None:
        with pytest.raises(FileRefused):
            call(repository, "git", subcommand="blame", file_path=path)

    def test_what_was_committed_of_a_secret_is_not_shown(self, repository: Path) -> None:
        (repository / ".env").write_text("PASSWORD=zebra\n")
        (repository / "lib" / "site.key").write_text("zebra\n")
        git(repository, "add", "-f", ".")
        git(repository, "commit", "-q", "-m", "Oops")
        for subcommand in ("show", "log", "diff"):
            revision = {"revision": "HEAD~1"} if subcommand == "diff" else {}
            assert "zebra" not in call(repository, "git", subcommand=subcommand, **revision).text

    def test_no_program_that_the_repository_names_is_run(self, repository: Path) -> None:
        trap = repository.parent / "trap"
        trap.write_text(f"#!/bin/sh\ntouch {repository.parent}/sprung\ncat\n")
        trap.chmod(0o755)
        settings = ["core.fsmonitor", "diff.external", "core.pager", "filter.x.clean", "diff.x.textconv", "gpg.program"]
        for name in settings:
            git(repository, "config", name, str(trap))
        git(repository, "config", "filter.x.required", "true")
        git(repository, "config", "log.showSignature", "true")
        (repository / ".gitattributes").write_text("*.md filter=x diff=x\n")
        (repository / "notes.md").write_text("changed\n")
        sprung = repository.parent / "sprung"
        where = context(repository)
        sprung.unlink(missing_ok=True)  # listing the files, before the tool, may have sprung it
        for asked in ("status", "diff", "log", "show"):
            assert call(where, "git", subcommand=asked).ok
        assert call(where, "git", subcommand="blame", file_path="notes.md").ok
        assert not sprung.exists()

    def test_a_huge_diff_is_bounded(self, repository: Path) -> None:
        (repository / "notes.md").write_text("line\n" * 100_000)
        outcome = call(repository, "git", subcommand="diff")
        assert len(outcome.text) < RESULT_LIMIT + 200
        assert "left out" in outcome.text

    def test_without_a_repository_it_is_not_offered(self) -> None:
        assert "git" not in {t.spec.name for t in tools.offered(repository=False, commands=True, person=True)}


class TestRunCommand:
    def test_gives_the_exit_status_and_both_streams(self, root: Path) -> None:
        outcome = call(root, "run_command", command="echo out; echo err >&2; exit 3")
        assert (outcome.ok, outcome.words, outcome.text) == (False, "exit 3", "[exit 3]\nout\nerr")

    def test_a_result_of_100_mb_keeps_its_beginning_and_its_end(self, root: Path) -> None:
        outcome = call(
            root, "run_command", command="echo first; head -c 100000000 /dev/zero | tr '\\0' x; echo; echo last"
        )
        assert outcome.ok
        assert len(outcome.text) < 8_200
        assert outcome.text.startswith("[exit 0]\nfirst\n")
        assert outcome.text.endswith("\nlast")
        assert "99,992,012 bytes left out" in outcome.text

    def test_runs_in_the_walls_that_there_are(self, root: Path, tmp_path: Path) -> None:
        (root / ".git").mkdir()
        outside = tmp_path / "outside"
        command = f"touch inside; touch {outside}; touch .git/hook; ls ~ /tmp | wc -l; ls /sys/class/net /proc/net/dev"
        seen = call(root, "run_command", command=command).text
        assert (root / "inside").exists(), "the workspace is writable"
        if confined(root):
            assert not outside.exists()
            assert not (root / ".git" / "hook").exists()
            assert "Read-only file system" in seen
        else:
            assert outside.exists()
            assert (root / ".git" / "hook").exists()

    def test_a_confined_command_has_no_network(self, root: Path) -> None:
        interfaces = call(root, "run_command", command="tail -n +3 /proc/net/dev | cut -d: -f1").text
        names = interfaces.split()[2:]
        assert names == ["lo"] or not confined(root)

    def test_passwords_are_not_in_its_environment(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("GLM_LSP_API_KEY", "GITHUB_TOKEN", "SSH_AUTH_SOCK", "DB_PASSWORD"):
            monkeypatch.setenv(name, "zebra")
        monkeypatch.setenv("LANGUAGE", "lion")
        text = call(root, "run_command", command="env").text
        assert "zebra" not in text
        assert "lion" in text

    def test_is_stopped_at_its_time_limit_with_all_that_it_started(self, root: Path) -> None:
        limited = replace(Settings(), tools=ToolSettings(command_seconds=0.5))
        outcome = call(context(root, limited), "run_command", command="echo begun; (sleep 2; touch late) & sleep 600")
        assert outcome.words == "stopped after 0.5 s"
        assert "begun" in outcome.text
        time.sleep(2.2)
        assert not (root / "late").exists()

    def test_what_it_leaves_in_the_background_is_ended_and_not_waited_for(self, root: Path) -> None:
        outcome = call(root, "run_command", command="(sleep 1; touch late) & echo done")
        assert outcome.text == "[exit 0]\ndone"
        time.sleep(1.5)
        assert not (root / "late").exists()

    def test_memory_is_limited(self, root: Path) -> None:
        limited = replace(Settings(), tools=ToolSettings(command_megabytes=200))
        command = "/usr/bin/env python3 -c 'x = bytearray(10**9); print(len(x))'"
        outcome = call(context(root, limited), "run_command", command=command)
        assert not outcome.ok
        assert "1000000000" not in outcome.text

    def test_names_the_edits_that_are_not_on_disk(self, root: Path) -> None:
        where = context(root)
        change(where, "cart.py", "def subtotal(cart):", "def net(cart):")
        outcome = call(where, "run_command", command="grep -c net cart.py")
        assert outcome.text.startswith("[exit 1]\n0\n[Your edits")
        assert outcome.text.endswith("cart.py]")

    def test_what_it_changes_is_read_anew(self, root: Path) -> None:
        where = context(root)
        where.draft.read("notes.md")
        outcome = call(where, "run_command", command="echo formatted > notes.md")
        assert "Changed on disk; read them again before you edit them: notes.md" in outcome.text
        assert where.draft.read("notes.md").content == "formatted\n"

    @pytest.mark.parametrize("command", ["", "  ", "echo \u202e", "echo \x1b[2K", "x" * 5_000])
    def test_what_a_person_cannot_check_is_refused(self, command: str) -> None:
        tool = tools.find("run_command")
        assert tool is not None
        assert tool.permission is not None
        with pytest.raises(BadArguments):
            tool.permission({"command": command})


def test_the_walls_hide_first_and_open_the_workspace_last(tmp_path: Path) -> None:
    root = project(tmp_path / "home" / "work", a_py="")
    (root / ".git").mkdir()
    walls = walled(["sh", "-c", "x"], root, homes=[tmp_path / "home"], readable=[str(tmp_path / "home" / ".cargo")])
    text = " ".join(walls)
    assert walls[0] == "bwrap"
    assert {"--unshare-all", "--die-with-parent"} <= set(walls)
    order = [
        "--ro-bind / /",
        f"--tmpfs {tmp_path}/home",
        f"--ro-bind-try {tmp_path}/home/.cargo",
        f"--bind {root} {root}",
        f"--ro-bind {root}/.git {root}/.git",
        "-- sh -c x",
    ]
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)


def test_a_workspace_that_contains_the_home_folder_cannot_be_confined() -> None:
    assert not confined(Path.home())
    assert not confined(Path("/"))


def test_confined_means_that_bubblewrap_is_there(root: Path) -> None:
    assert not confined(root) or shutil.which("bwrap")


def test_a_program_is_ended_when_the_turn_is_cancelled(tmp_path: Path) -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    ended = processes.run(
        ["sh", "-c", "sleep 600"], tmp_path, dict(os.environ), seconds=60, first=10, last=10, stop=stop
    )
    assert (ended.stopped, ended.code) == ("cancelled", -9)


async def test_reads_of_one_reply_run_side_by_side_and_answer_in_order(root: Path) -> None:
    story = await play(
        root,
        said(
            calls=[
                ("read_file", {"file_path": "cart.py"}),
                ("search", {"pattern": "total"}),
                ("read_file", {"file_path": "notes.md"}),
                ("find_symbol", {"name": "total"}),
                ("nothing_like_it", {}),
                edit("cart.py", "def subtotal(cart):", "def net(cart):"),
                ("search", {"pattern": r"def net"}),
                edit("notes.md", "total", "sum"),
            ]
        ),
        said("Done."),
    )
    kinds = [type(e.what) for e in story.events if isinstance(e.what, ToolCalled | ToolReturned)]
    assert kinds[:5] == [ToolCalled] * 5
    assert kinds[5:10] == [ToolReturned] * 5
    assert [r.call for r in story.results()] == [c.call for c in story.of(ToolCalled)]
    assert [r.ok for r in story.results()] == [True, True, True, True, False, True, True, True]
    assert "cart.py:8|def net(cart):" in story.results()[6].result, "a read behind an edit sees the edit"
    answers = [m.call_id for m in story.conversation.messages if m.role == "tool"]
    assert answers == [r.call for r in story.results()]


async def test_many_reads_at_once_lose_none(tmp_path: Path) -> None:
    root = project(tmp_path / "w", **{f"f{n}_py": f"x = {n}\n" for n in range(40)})
    reads = [("read_file", {"file_path": f"f{n}.py"}) for n in range(40)]
    edits = [edit(f"f{n}.py", f"x = {n}", f"x = {n + 100}") for n in range(40)]
    story = await play(root, said(calls=reads), said(calls=edits), said("Done."))
    assert all(result.ok for result in story.results())


@pytest.mark.parametrize("person", [True, False])
def test_at_most_a_dozen_tools_are_offered_in_any_one_conversation(person: bool) -> None:
    assert len(tools.offered(repository=True, commands=True, person=person)) <= 12
