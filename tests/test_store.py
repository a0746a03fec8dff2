"""The file of conversations: privacy, versions, damage, full disks, kills and many writers."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from glm_lsp.conversations import Conversations
from glm_lsp.errors import StateError
from glm_lsp.store import Store
from glm_lsp.store.file import MIGRATIONS
from glm_lsp.terms import Message, TokenLog, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent


def shelf(base: Path) -> Conversations:
    (base / "project").mkdir(exist_ok=True)
    return Conversations.at(base / "project", environment={"GLM_LSP_STATE_DIR": str(base / "state")})


def child(code: str, *arguments: str | Path, **more: object) -> subprocess.Popen[str]:
    """Another process, with the product on its path."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,  # type: ignore[call-overload]
    )


def kept(base: Path, said: int = 3) -> tuple[Path, str]:
    """A closed file with one conversation."""
    one = shelf(base)
    conversation = one.create("kept")
    for number in range(said):
        conversation.append(Message("user", f"message {number}"))
    path = one.store.file.path
    one.store.file.close()
    return path, conversation.id


def test_the_file_is_the_persons_alone_and_lies_outside_the_workspace(tmp_path: Path) -> None:
    one = shelf(tmp_path)
    one.create("x").append(Message("user", "hello"))
    path = one.store.file.path
    assert path.is_relative_to(tmp_path / "state" / "conversations")
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {p.suffix for p in path.parent.iterdir()} >= {".sqlite", ".sqlite-wal"}
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o600 for p in path.parent.iterdir())
    assert not list((tmp_path / "project").iterdir())


def test_one_workspace_is_the_same_through_a_link(tmp_path: Path) -> None:
    one = shelf(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "project")
    other = Conversations.at(tmp_path / "link", environment={"GLM_LSP_STATE_DIR": str(tmp_path / "state")})
    assert other.store.file.path == one.store.file.path


def test_a_newer_file_is_left_as_it_is_with_word_of_what_to_do(tmp_path: Path) -> None:
    path, _ = kept(tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = path.read_bytes()
    with pytest.raises(StateError, match="newer glm-lsp") as caught:
        shelf(tmp_path)
    assert "Update" in caught.value.hint
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.damaged-*"))


def test_the_migrations_lead_from_an_empty_file_to_the_newest_version(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "in" / "new.sqlite")
    assert store.file.read(lambda db: db.execute("PRAGMA user_version").fetchone()[0]) == len(MIGRATIONS)
    assert store.file.read(lambda db: db.execute("PRAGMA synchronous").fetchone()[0]) == 2
    assert store.file.read(lambda db: db.execute("PRAGMA journal_mode").fetchone()[0]) == "wal"


def noise(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(20_000))


def headless(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[:100] = bytes(100)
    path.write_bytes(data)


def scribbled(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100:4096] = b"\xff" * 3996
    path.write_bytes(data)


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def another_program(path: Path) -> None:
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (x)")


@pytest.mark.parametrize("damage", [noise, headless, scribbled, halved, another_program], ids=lambda f: f.__name__)
def test_a_file_that_cannot_be_read_is_set_aside_and_a_fresh_one_made(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    for number in (1, 2):  # a second one does not write over the first
        path, _ = kept(tmp_path)
        damage(path)
        broken = path.read_bytes()
        one = shelf(tmp_path)
        assert one.list() == ()
        aside = path.with_name(f"{path.name}.damaged-{number}")
        assert aside.read_bytes() == broken
        assert any(str(aside) in note for note in one.notes)
        one.create("works").append(Message("user", "again"))
        one.store.file.close()
        assert [e.name for e in one.list()] == ["works"]
        one.delete(one.open("works").id)
        one.store.file.close()


def test_damage_in_use_loses_nothing_of_an_open_conversation(tmp_path: Path) -> None:
    one = shelf(tmp_path)
    conversation = one.create("mine")
    conversation.append(Message("user", "first"))
    path = one.store.file.path
    one.store.file.close()
    noise(path)
    conversation.append(Message("assistant", "second"))
    assert one.notes
    assert path.with_name(f"{path.name}.damaged-1").exists()
    assert [m.text for m in shelf(tmp_path).open("mine").messages] == ["first", "second"]


def remove_file(path: Path) -> None:
    path.unlink()


def remove_all(path: Path) -> None:
    for one in path.parent.iterdir():
        one.unlink()
    path.parent.rmdir()


def replace_it(path: Path) -> None:
    remove_all(path)
    Store.open(path).file.close()


@pytest.mark.parametrize("loss", [remove_file, remove_all, replace_it], ids=lambda f: f.__name__)
def test_a_file_deleted_while_running_is_made_again_with_the_open_conversation(
    tmp_path: Path, loss: Callable[[Path], None]
) -> None:
    one = shelf(tmp_path)
    conversation = one.create("mine")
    conversation.append(Message("user", "first"))
    conversation.record(TokenLog((1, 2, 3), 1, "fp"), Usage(3, 1))
    loss(one.store.file.path)
    conversation.append(Message("assistant", "second"))
    conversation.record(TokenLog((1, 2, 3, 4), 2, "fp"), Usage(4, 1))
    again = shelf(tmp_path).open("mine")
    assert again.id == conversation.id
    assert again.messages == conversation.messages
    assert again.log == TokenLog((1, 2, 3, 4), 2, "fp")


def test_a_log_removed_alone_is_noticed(tmp_path: Path) -> None:
    one = shelf(tmp_path)
    conversation = one.create("mine")
    conversation.append(Message("user", "first"))
    Path(f"{one.store.file.path}-wal").unlink()
    conversation.append(Message("assistant", "second"))
    conversation.append(Message("user", "third"))
    assert [m.text for m in shelf(tmp_path).open("mine").messages] == ["first", "second", "third"]


def test_a_full_disk_is_said_and_nothing_half_is_kept(tmp_path: Path) -> None:
    one = shelf(tmp_path)
    conversation = one.create("mine")
    conversation.append(Message("user", "before"))
    pages = one.store.file.read(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
    one.store.file.read(lambda db: db.execute(f"PRAGMA max_page_count = {pages + 2}").fetchone())
    with pytest.raises(StateError, match="full") as caught:
        conversation.append(Message("tool", "small"), Message("tool", "x" * 100_000))
    assert "Make room" in caught.value.hint
    assert [m.text for m in conversation.messages] == ["before"]
    one.store.file.read(lambda db: db.execute("PRAGMA max_page_count = 1000000").fetchone())
    conversation.append(Message("tool", "x" * 100_000))
    assert len(shelf(tmp_path).open("mine").messages) == 2


FULL = """
import resource, sys
from pathlib import Path
from glm_lsp.conversations import Conversations
from glm_lsp.errors import StateError
from glm_lsp.terms import Message
shelf = Conversations.at(Path(sys.argv[1]), environment={"GLM_LSP_STATE_DIR": sys.argv[2]})
conversation = shelf.open("kept")
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
try:
    conversation.append(Message("tool", "x" * 1_000_000))
except StateError as error:
    print(error.message, len(conversation.messages))
"""


def test_a_write_that_the_system_refuses_is_said_in_words(tmp_path: Path) -> None:
    kept(tmp_path)
    process = child(FULL, tmp_path / "project", tmp_path / "state")
    out, err = process.communicate(timeout=60)
    assert not err
    assert "cannot be kept" in out
    assert out.split()[-1] == "3"
    assert len(shelf(tmp_path).open("kept").messages) == 3


@contextlib.contextmanager
def without_rights() -> Iterator[None]:
    """As an ordinary person: to the administrator, permissions mean nothing."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_may_not_be_written_is_said_in_words() -> None:
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        (base / "project").mkdir()
        state = base / "state"
        state.mkdir()
        state.chmod(0o555)
        base.chmod(0o755)
        try:
            with without_rights(), pytest.raises(StateError, match="cannot be kept") as caught:
                shelf(base)
        finally:
            state.chmod(0o755)
        assert "GLM_LSP_STATE_DIR" in caught.value.hint


def test_a_file_in_the_folders_place_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("I am a file")
    with pytest.raises(StateError, match="cannot be kept"):
        shelf(tmp_path)


def test_a_writer_that_does_not_end_is_said_in_words(tmp_path: Path) -> None:
    path, name = kept(tmp_path)
    store = Store.open(path, busy=0.05)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert len(store.load(name).said) == 3, "reading goes on"
        with pytest.raises(StateError, match="Another glm-lsp is writing"):
            store.rename(name, "new")
        other.execute("ROLLBACK")
    assert store.rename(name, "new")


def test_a_message_cannot_be_rewritten_even_by_hand(tmp_path: Path) -> None:
    path, _ = kept(tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as db, pytest.raises(sqlite3.IntegrityError, match="never"):
        db.execute("UPDATE messages SET text = 'forged'")


WRITER = """
import sys
from pathlib import Path
from glm_lsp.conversations import Conversations
from glm_lsp.terms import Message, TokenLog, Usage
shelf = Conversations.at(Path(sys.argv[1]), environment={"GLM_LSP_STATE_DIR": sys.argv[2]})
conversation = shelf.open(sys.argv[3])
with shelf.claim(conversation):
    for number in range(len(conversation.messages), 100_000):
        conversation.append(Message("assistant", f"message {number}", "thought " * 200))
        print(number, flush=True)
        conversation.record(TokenLog(tuple(range(10 * number)), number + 1, "fp"), Usage(1, 1))
"""


def test_a_killed_process_loses_nothing_it_was_told_is_kept(tmp_path: Path) -> None:
    dice = random.Random(7)
    conversation = shelf(tmp_path).create("mine").id
    acknowledged = -1
    for _ in range(8):
        process = child(WRITER, tmp_path / "project", tmp_path / "state", conversation)
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first, process.stderr.read() if process.stderr else ""
        time.sleep(dice.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        out, err = process.communicate(timeout=30)
        assert not err
        # the last line may be cut off in its middle
        acknowledged = int((first + out).rpartition("\n")[0].rsplit("\n")[-1])
        texts = [m.text for m in shelf(tmp_path).open(conversation).messages]
        assert texts == [f"message {n}" for n in range(len(texts))]
        assert len(texts) - 1 in {acknowledged, acknowledged + 1}
    last = shelf(tmp_path).open(conversation)
    assert last.log is not None
    assert last.log.ids == tuple(range(len(last.log.ids)))
    assert last.log.covers >= acknowledged


SHARER = """
import sys
from pathlib import Path
from glm_lsp.conversations import Conversations
from glm_lsp.terms import Message
shelf = Conversations.at(Path(sys.argv[1]), environment={"GLM_LSP_STATE_DIR": sys.argv[2]})
own, shared = shelf.create(), shelf.open("shared")
print(own.id, flush=True)
for number in range(15):
    own.append(Message("user", f"{sys.argv[3]} {number}"))
    with shelf.claim(shared, wait=60, catch_up=True):
        for part in range(3):
            shared.append(Message("user", f"{sys.argv[3]} {number} {part}"))
"""


def test_two_processes_write_to_their_own_conversations_and_to_a_shared_one(tmp_path: Path) -> None:
    one = shelf(tmp_path)
    one.create("shared")
    both = [child(SHARER, tmp_path / "project", tmp_path / "state", name) for name in ("a", "b")]
    for name, process in zip(("a", "b"), both, strict=True):
        out, err = process.communicate(timeout=120)
        assert not err
        assert [m.text for m in one.open(out.strip()).messages] == [f"{name} {n}" for n in range(15)]
    texts = [m.text for m in one.open("shared").messages]
    turns = [texts[n : n + 3] for n in range(0, len(texts), 3)]
    assert all([t.rpartition(" ")[0] for t in turn] == [turn[0].rpartition(" ")[0]] * 3 for turn in turns)
    assert sorted(texts) == sorted(f"{name} {n} {part}" for name in "ab" for n in range(15) for part in range(3))
    assert next(e.turns for e in one.list() if e.name == "shared") == 30


def test_two_processes_that_find_damage_at_once_set_it_aside_once(tmp_path: Path) -> None:
    path, _ = kept(tmp_path)
    noise(path)
    code = WRITER.split("conversation =", maxsplit=1)[0] + "shelf.create().append(Message('user', 'x'))"
    both = [child(code, tmp_path / "project", tmp_path / "state") for _ in range(2)]
    for process in both:
        _, err = process.communicate(timeout=60)
        assert not err
    assert len(shelf(tmp_path).list()) == 2
    assert len(list(path.parent.glob("*.damaged-*"))) == 1
