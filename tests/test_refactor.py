"""`glm-lsp refactor` as a person and as CI runs it: a process, a scripted engine, real files, real git."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from stories import project

from glm_lsp.edits.journal import Journal

GLM = str(Path(sys.executable).with_name("glm-lsp"))
CART = "def total(items):\n    return sum(i.price for i in items)\n"
BETTER = CART.replace("i.price for", "i.price * i.qty for")
OLD, NEW = "    return sum(i.price for i in items)", "    return sum(i.price * i.qty for i in items)"


def edit(path: str, old: str = OLD, new: str = NEW) -> dict[str, Any]:
    return {"name": "edit_file", "arguments": {"file_path": path, "old_string": old, "new_string": new}}


class Person:
    """Someone at a shell, in a git repository."""

    def __init__(self, tmp_path: Path) -> None:
        self.root = project(tmp_path / "work", cart_py=CART)
        self.tmp = tmp_path
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("GLM_LSP_", "NO_COLOR", "FORCE_COLOR"))},
            "GLM_LSP_STATE_DIR": str(tmp_path / "state"),
            "XDG_CONFIG_HOME": str(tmp_path / "config"),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "GIT_AUTHOR_NAME": "a",
            "GIT_AUTHOR_EMAIL": "a@b",
            "GIT_COMMITTER_NAME": "a",
            "GIT_COMMITTER_EMAIL": "a@b",
        }
        self.git("init", "-q", "-b", "main")
        self.git("add", ".")
        self.git("commit", "-q", "-m", "first")

    def git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=self.root, check=True, capture_output=True, text=True, env=self.environment
        ).stdout

    def script(self, *replies: dict[str, Any], **more: Any) -> str:
        path = self.tmp / "script.json"
        path.write_text(json.dumps({"replies": replies, **more}))
        return f"scripted:{path}"

    def command(self, *arguments: str, engine: str | None = None) -> list[str]:
        chosen = ["--engine", engine] if engine else []
        return [GLM, "refactor", *arguments, *chosen]

    def run(self, *arguments: str, engine: str | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments, engine=engine),
            cwd=self.root,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def glm(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [GLM, *arguments], cwd=self.root, env=self.environment, capture_output=True, text=True, check=False
        )

    def read(self, path: str = "cart.py") -> str:
        return (self.root / path).read_bytes().decode()


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path)


WORKS = ({"thinking": "Quantities.", "calls": [edit("cart.py")]}, {"text": "The total counts quantities."})


def test_a_diff_is_shown_and_nothing_is_written(person: Person) -> None:
    done = person.run("count quantities", "cart.py", engine=person.script(*WORKS))
    assert done.returncode == 0, done.stderr
    assert "-    return sum(i.price for i in items)" in done.stdout
    assert "+    return sum(i.price * i.qty for i in items)" in done.stdout
    assert "1 file · +1 −1" in done.stdout
    assert "\x1b" not in done.stdout
    assert person.read() == CART


def test_apply_writes_and_undo_takes_it_back(person: Person) -> None:
    done = person.run("count quantities", "cart.py", "--apply", engine=person.script(*WORKS))
    assert done.returncode == 0, done.stderr
    assert "Applied 1 file · +1 −1 · undo with: glm-lsp undo" in done.stdout
    assert person.read() == BETTER
    listed = person.glm("undo", "--list")
    assert "count quantities" in listed.stdout
    assert person.glm("undo").returncode == 0
    assert person.read() == CART


@pytest.mark.parametrize(
    ("replies", "code"), [(WORKS, 1), (({"text": "It is right as it is."},), 0)], ids=["changes", "none"]
)
def test_check_tells_by_its_exit_code_and_writes_nothing(person: Person, replies: Any, code: int) -> None:
    assert person.run("count quantities", "cart.py", "--check", engine=person.script(*replies)).returncode == code
    assert person.read() == CART


def test_the_instruction_can_come_from_standard_input(person: Person) -> None:
    engine = person.script({"when": "count quantities, please", "text": "Yes."})
    assert person.run("-", "cart.py", engine=engine, stdin="count quantities, please\n").returncode == 0


def test_a_patch_applies_with_git(person: Person) -> None:
    done = person.run("count quantities", "cart.py", "--output", "patch", engine=person.script(*WORKS))
    subprocess.run(["git", "apply"], cwd=person.root, input=done.stdout, text=True, check=True)
    assert person.read() == BETTER


def test_ndjson_is_one_event_a_line_with_gapless_numbers(person: Person) -> None:
    done = person.run("count quantities", "cart.py", "--output", "ndjson", engine=person.script(*WORKS, chop=2))
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["event"] == "started"
    assert events[-1]["event"] == "ended"
    assert "".join(e["text"] for e in events if e["event"] == "thinking-added") == "Quantities."


@pytest.mark.parametrize("output", ["json", "sarif"])
def test_json_reports_are_json(person: Person, output: str) -> None:
    done = person.run("count quantities", "cart.py", "--output", output, engine=person.script(*WORKS))
    assert done.returncode == 0
    assert json.loads(done.stdout)["version"]


class TestVerify:
    def test_a_command_that_passes_leaves_the_changes(self, person: Person) -> None:
        done = person.run("x", "cart.py", "--apply", "--verify", "grep -q qty cart.py", engine=person.script(*WORKS))
        assert done.returncode == 0, done.stderr
        assert "Ran grep -q qty cart.py · passed" in done.stdout
        assert person.read() == BETTER

    def test_a_failure_goes_back_to_the_model_which_mends_it(self, person: Person) -> None:
        replies = (
            *WORKS,
            {"when": "no rounding here", "calls": [edit("cart.py", NEW, NEW.replace("sum(", "round(sum(") + ")")]},
            {"text": "Rounded."},
        )
        command = "grep -q round cart.py || { echo no rounding here; false; }"
        done = person.run("x", "cart.py", "--apply", "--verify", command, engine=person.script(*replies))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "round(sum(" in person.read()
        assert person.glm("undo").returncode == 0
        assert person.read() == BETTER, "each applied run is taken back for itself"

    def test_a_failure_that_stays_reverts_everything(self, person: Person) -> None:
        replies = (*WORKS, {"text": "I do not know what to do."})
        done = person.run("x", "cart.py", "--apply", "--verify", "false", engine=person.script(*replies))
        assert done.returncode == 2
        assert "Reverted" in done.stdout
        assert person.read() == CART

    def test_repairs_are_bounded(self, person: Person) -> None:
        forth, back = edit("cart.py", NEW, OLD), edit("cart.py", OLD, NEW)
        more = [{"calls": [forth]}, {"text": "Hm."}, {"calls": [back]}, {"text": "Hm."}] * 3
        done = person.run("x", "cart.py", "--apply", "--verify", "false", engine=person.script(*WORKS, *more))
        assert done.returncode == 2
        assert done.stdout.count("Ran false · failed") == 4
        assert person.read() == CART

    def test_needs_apply(self, person: Person) -> None:
        done = person.run("x", "--verify", "true", engine=person.script())
        assert done.returncode == 4
        assert "--verify needs --apply" in done.stderr


class TestBatch:
    FILES = ("a.py", "b.py", "c.py", "d.py")

    @pytest.fixture(autouse=True)
    def _files(self, person: Person) -> None:
        for name in self.FILES:
            (person.root / name).write_text(CART)

    def replies(self, *names: str) -> list[dict[str, Any]]:
        each = [{"when": f"{name}, lines", "calls": [edit(name)]} for name in names]
        return [*each, *[{"text": "Done."}] * len(names)]

    def test_each_file_is_a_turn_of_its_own(self, person: Person) -> None:
        # "Done." fits any prompt, so the calls come first in the script and are found by the file's name.
        engine = person.script(*self.replies(*self.FILES))
        done = person.run("x", *self.FILES, "--each", "file", "--jobs", "3", "--apply", engine=engine)
        assert done.returncode == 0, done.stdout + done.stderr
        assert all(person.read(name) == BETTER for name in self.FILES)

    def test_resumes_where_it_stopped(self, person: Person) -> None:
        note = person.tmp / "note.jsonl"
        arguments = ("x", *self.FILES, "--each", "file", "--apply", "--resume", str(note))
        first = person.run(*arguments, engine=person.script(*self.replies("a.py", "b.py")))
        assert first.returncode == 3, "the script ended before the files did"
        assert person.read("b.py") == BETTER
        assert person.read("c.py") == CART
        with note.open("a") as file:
            file.write('\n{"work": "cut off in the mid')
        second = person.run(*arguments, engine=person.script(*self.replies("c.py", "d.py")))
        assert second.returncode == 0, second.stdout + second.stderr
        assert all(person.read(name) == BETTER for name in self.FILES)
        assert person.run(*arguments, engine=person.script()).returncode == 0

    def test_another_instruction_does_not_count_as_done(self, person: Person) -> None:
        note = person.tmp / "note.jsonl"
        person.run("x", "a.py", "--each", "file", "--resume", str(note), engine=person.script(*self.replies("a.py")))
        again = person.run("y", "a.py", "--each", "file", "--resume", str(note), engine=person.script({"text": "No."}))
        assert "1 of 1 · a.py" in again.stdout

    def test_a_note_that_is_something_else_is_left_alone(self, person: Person) -> None:
        note = person.tmp / "note.jsonl"
        note.write_text('{"my": "file"}\n')
        done = person.run("x", "a.py", "--each", "file", "--resume", str(note), engine=person.script())
        assert done.returncode == 4
        assert note.read_text() == '{"my": "file"}\n'


class TestGit:
    def test_a_worktree_leaves_the_persons_files_alone(self, person: Person) -> None:
        (person.root / "cart.py").write_text(CART + "# not committed\n")
        done = person.run("x", "cart.py", "--apply", "--worktree", "--commit", engine=person.script(*WORKS))
        assert done.returncode == 0, done.stdout + done.stderr
        assert person.read() == CART + "# not committed\n"
        branch = next(line.split()[-1] for line in person.git("branch").splitlines() if "glm/" in line)
        assert person.git("show", f"{branch}:cart.py") == BETTER

    def test_a_worktree_is_removed_when_the_engine_fails(self, person: Person) -> None:
        done = person.run("x", "cart.py", "--apply", "--worktree", engine="http://127.0.0.1:9")
        assert done.returncode == 3
        assert "glm/" not in person.git("branch")
        assert len(person.git("worktree", "list").splitlines()) == 1
        assert [path.name for path in person.root.parent.iterdir() if path.name.startswith("work-")] == []

    def test_a_worktree_in_which_nothing_changed_is_removed(self, person: Person) -> None:
        done = person.run("x", "cart.py", "--apply", "--worktree", engine=person.script({"text": "No."}))
        assert done.returncode == 0, done.stderr
        assert "glm/" not in person.git("branch")
        assert len(person.git("worktree", "list").splitlines()) == 1

    def test_a_commit_holds_what_the_run_changed_and_nothing_else(self, person: Person) -> None:
        (person.root / "mine.py").write_text("staged = True\n")
        person.git("add", "mine.py")
        done = person.run("x", "cart.py", "--apply", "--commit", engine=person.script(*WORKS))
        assert done.returncode == 0, done.stdout + done.stderr
        assert person.git("show", "--name-only", "--format=", "HEAD").split() == ["cart.py"]
        assert person.git("diff", "--cached", "--name-only").split() == ["mine.py"]

    def test_a_file_with_changes_of_the_persons_own_is_not_committed(self, person: Person) -> None:
        (person.root / "cart.py").write_text("# mine\n" + CART)
        done = person.run("x", "cart.py", "--apply", "--commit", engine=person.script(*WORKS))
        assert done.returncode == 3
        assert "cart.py has changes of your own" in done.stdout
        assert person.read() == "# mine\n" + CART


class TestBadInput:
    def test_no_engine(self, person: Person) -> None:
        done = person.run("x", "cart.py")
        assert done.returncode == 3
        assert "glm-lsp engine start" in done.stderr

    def test_an_engine_that_is_not_there(self, person: Person) -> None:
        done = person.run("x", "cart.py", engine="http://127.0.0.1:9")
        assert done.returncode == 3
        assert "127.0.0.1:9" in done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("x", "nowhere.py"), "nowhere.py"),
            (("x", "../outside.py"), "outside"),
            (("x", "--action", "dance"), "dance"),
            (("",), "instruction"),
            (("x", "--jobs", "3"), "--each file"),
            (("x", "--no-such-option"), "--no-such-option"),
            (("x", "--output", "pdf"), "pdf"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
    )
    def test_a_wrong_command_line(self, person: Person, arguments: tuple[str, ...], words: str) -> None:
        (person.tmp / "outside.py").write_text("x = 1\n")
        done = person.run(*arguments, engine=person.script({"text": "Never."}))
        assert done.returncode in {3, 4}
        assert words in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_wrong_setting_is_named_with_its_file(self, person: Person) -> None:
        (person.root / ".glm-lsp.toml").write_text("[turn]\nmax_stepz = 3\n")
        done = person.run("x", "cart.py", engine=person.script())
        assert done.returncode == 4
        assert "turn.max_stepz" in done.stderr
        assert "max_steps" in done.stderr

    def test_the_workspaces_setting_counts_from_a_folder_below(self, person: Person) -> None:
        (person.root / ".glm-lsp.toml").write_text("[turn]\nmax_stepz = 3\n")
        (person.root / "sub").mkdir()
        done = person.run("x", "cart.py", "--root", "sub", engine=person.script())
        assert done.returncode == 4
        assert "turn.max_stepz" in done.stderr

    def test_a_workspace_may_not_name_the_engine(self, person: Person) -> None:
        (person.root / ".glm-lsp.toml").write_text('[engine]\nurl = "http://evil"\n')
        done = person.run("x", "cart.py", engine=person.script())
        assert done.returncode == 4

    def test_a_file_that_changes_while_the_model_works_is_not_overwritten(self, person: Person) -> None:
        engine = person.script(*WORKS, delay=0.5)
        process = subprocess.Popen(
            person.command("x", "cart.py", "--apply", engine=engine),
            cwd=person.root,
            env=person.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(1.2)
        (person.root / "cart.py").write_text("# the person was here\n" + CART)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 3, out + err
        assert person.read() == "# the person was here\n" + CART
        assert "cart.py" in out + err


def wait_for(marker: Path) -> None:
    deadline = time.monotonic() + 30
    while not marker.exists():
        assert time.monotonic() < deadline, f"{marker} never came"
        time.sleep(0.05)


class TestCancelled:
    def start(self, person: Person, *arguments: str, delay: float) -> subprocess.Popen[str]:
        engine = person.script(*WORKS, delay=delay, chop=1)
        return subprocess.Popen(
            person.command("x", "cart.py", "--apply", *arguments, engine=engine),
            cwd=person.root,
            env=person.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def test_ctrl_c_ends_cleanly_with_nothing_written(self, person: Person) -> None:
        process = self.start(person, "--output", "ndjson", delay=0.2)
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 130, err
        assert json.loads(out.splitlines()[-1])["reason"] == "cancelled"
        assert "Traceback" not in err
        assert person.read() == CART

    def test_ctrl_c_twice_kills_even_while_the_changes_are_being_taken_back(self, person: Person) -> None:
        marker = person.tmp / "verifying"
        process = self.start(person, "--verify", f"touch {marker}; sleep 60", delay=0.0)
        wait_for(marker)
        with Journal.open(person.root, environment=person.environment).locked():  # so that taking back has to wait
            process.send_signal(signal.SIGINT)
            time.sleep(1)
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=5)
            assert process.returncode == 130
        assert person.glm("undo").returncode == 0
        assert person.read() == CART

    def test_ctrl_c_during_the_verification_takes_the_changes_back(self, person: Person) -> None:
        marker = person.tmp / "verifying"
        process = self.start(person, "--verify", f"touch {marker}; sleep 60", delay=0.0)
        wait_for(marker)
        assert person.read() == BETTER
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 130, out + err
        assert person.read() == CART
