"""What a turn costs beyond the engine's own time, what a step costs on the disk, and how long a full shelf takes to open.

Never needs an engine or a network: the engine here is in this process, and its own time is taken off.

A step is one request with twenty pieces of thinking, one call of `read_file` and its result. The limits are those that
the project sets itself; the peer is a bare `sqlite3` with the same pragmas, which is what the disk allows.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import sqlite3
import statistics
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glm_lsp.conversations import Conversation, Conversations
from glm_lsp.engine import profiles
from glm_lsp.settings import Settings
from glm_lsp.terms import Ask, Delta, Ended, Message, TokenLog, ToolCall, ToolCallDelta, Usage
from glm_lsp.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from glm_lsp.engine.profiles import Profile
    from glm_lsp.terms import Prompt

NAME = "turn"
DOC = "a step of a turn without the engine's own time, a step on the disk, and opening 1,000 conversations, in ms"

STEPS = 300
ALREADY_READ = 30_000  # tokens of the prompt when the turn begins
NEW_TOKENS = 234  # a step: 100,000 and some at the end
SHELF = 1000
OPENINGS = 40

MEMORY, STORE = "a step, conversation in memory", "a step, conversation in the store"
COMMIT, FLOOR = "appending and committing a step", "bare sqlite: insert and commit the same bytes"
OPEN, LIST, BARE = (
    "opening the workspace, listing its conversations",
    "of that, listing them",
    "bare sqlite: open, select",
)
LIMITS = {MEMORY: ("p50", 5.0), STORE: ("p50", 5.0), COMMIT: ("p95", 10.0), OPEN: ("p50", 50.0)}
"""Milliseconds that a figure may take, and which figure that is for."""


def run() -> dict[str, Any]:
    """Measures everything in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder, _state(Path(folder) / "state"):
        root = Path(folder) / "work"
        root.mkdir()
        subprocess.run(["git", "init", "-q", str(root)], check=True)
        (root / "app.py").write_text("".join(f"value_{n} = {n}\n" for n in range(2 * STEPS)))
        shelf = Conversations.at(root)
        seconds = {
            MEMORY: asyncio.run(_turn(root, Conversation(), shelf)),
            STORE: asyncio.run(_turn(root, shelf.create(), shelf)),
        }
        seconds |= _disk(shelf, Path(folder) / "floor.sqlite")
        seconds |= _shelf(root, shelf)
    return {
        "unit": "ms",
        "steps": STEPS,
        "tokens": ALREADY_READ + STEPS * NEW_TOKENS,
        "results": [_figures(name, values) for name, values in seconds.items()],
        "commit_times_floor": _ratio(seconds, COMMIT, FLOOR),
        "list_times_bare": _ratio(seconds, LIST, BARE),
        "environment": f"{platform.system()} {platform.machine()}, sqlite {sqlite3.sqlite_version}",
        "note": "A step of ours is two commits, one for the messages and one for the tokens; the peer's is one.",
    }


def table(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows for printing, the first one being the heading."""
    rows: list[tuple[str, ...]] = [("what", "p50 ms", "p95 ms", "p99 ms", "limit", "of the limit")]
    for item in result["results"]:
        limit = f"{item['limited']} {item['limit']:.0f} ms" if item["limit"] else ""
        of = f"{item['of_limit']:.2f}" if item["limit"] else ""
        rows.append((item["what"], *(f"{item[key]:.2f}" for key in ("p50", "p95", "p99")), limit, of))
    return rows


def _figures(name: str, values: list[float]) -> dict[str, Any]:
    cuts = statistics.quantiles(values, n=100)
    found: dict[str, Any] = {"what": name, "samples": len(values)}
    found |= {f"p{n}": round(1e3 * cuts[n - 1], 3) for n in (50, 95, 99)}
    limited, limit = LIMITS.get(name, ("", None))
    return found | {"limited": limited, "limit": limit, "of_limit": round(found[limited] / limit, 3) if limit else None}


def _ratio(seconds: dict[str, list[float]], ours: str, peer: str) -> float:
    return round(statistics.median(seconds[ours]) / statistics.median(seconds[peer]), 2)


@contextlib.contextmanager
def _state(folder: Path) -> Iterator[None]:
    before = os.environ.get("GLM_LSP_STATE_DIR")
    os.environ["GLM_LSP_STATE_DIR"] = str(folder)
    try:
        yield
    finally:
        del os.environ["GLM_LSP_STATE_DIR"]
        if before is not None:
            os.environ["GLM_LSP_STATE_DIR"] = before


# --- a turn ------------------------------------------------------------------------------------------------------


class _Engine:
    """Thinks, and reads another line of a file with each request; keeps its own time apart."""

    model = "glm-4.7"
    profile: Profile = profiles.GLM_47

    def __init__(self) -> None:
        self.began: list[float] = []
        self.own: list[float] = []
        self._ids = tuple(range(ALREADY_READ))

    async def connect(self) -> None:
        """Is there already."""

    def take_notes(self) -> tuple[str, ...]:
        """Has nothing to say."""
        return ()

    async def close(self) -> None:
        """Stays."""

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """Yields what the next step says; the time between two yields is its own."""
        resumed = time.perf_counter()
        self.began.append(resumed)
        own = 0.0
        for delta in self._said(len(self.began), len(prompt.messages)):
            own += time.perf_counter() - resumed
            yield delta
            resumed = time.perf_counter()
        self.own.append(own)

    def _said(self, step: int, messages: int) -> Iterator[Delta]:
        for piece in range(20):
            yield Delta(thinking=f"Line {step} may matter, says thought {piece}. ", written=piece)
        last = step > STEPS
        if last:
            yield Delta(text="Nothing has to change.")
        else:
            arguments = json.dumps({"file_path": "app.py", "start_line": step, "end_line": step + 5})
            yield Delta(tool_calls=(ToolCallDelta(0, f"call-{step}", "read_file", arguments),))
        self._ids += tuple(range(NEW_TOKENS))
        yield Delta(
            finish="stop" if last else "tool_calls",
            usage=Usage(len(self._ids), NEW_TOKENS, len(self._ids), 100),
            log=TokenLog(self._ids, messages + 1, "benchmark"),
        )


async def _turn(root: Path, conversation: Conversation, shelf: Conversations) -> list[float]:
    """The seconds of each step, from one request to the next, without the engine's own."""
    settings = Settings()
    endless: dict[str, Any] = {"max_steps": 10 * STEPS, "max_seconds": 3600.0, "max_new_tokens": 10**9}
    workspace = Workspace.open(root, replace(settings, turn=replace(settings.turn, **endless)))
    engine, draft = _Engine(), workspace.draft()
    turn = workspace.turn(Ask("chat", "Look at every line."), engine, draft=draft, conversation=conversation)
    with shelf.claim(conversation):
        async for event in turn.run():
            if isinstance(event.what, Ended) and event.what.reason not in {"done", "nothing"}:
                raise RuntimeError(f"the turn ended with {event.what.reason}: {event.what.error}")
    if len(engine.began) != STEPS + 1:
        raise RuntimeError(f"the turn had {len(engine.began)} requests")
    until = engine.began[1:]
    return [end - begin - own for begin, end, own in zip(engine.began, until, engine.own, strict=False)]


# --- the disk ----------------------------------------------------------------------------------------------------


def _disk(shelf: Conversations, floor: Path) -> dict[str, list[float]]:
    """Steps of ours and of the peer, in turns, so that a busy disk is busy for both."""
    bare = sqlite3.connect(floor, isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
        bare.execute(f"PRAGMA {pragma}")
    bare.execute("CREATE TABLE steps (seq INTEGER PRIMARY KEY, text TEXT, ids BLOB)")
    conversation, ids = shelf.create(), tuple(range(ALREADY_READ))
    conversation.append(Message("system", "s" * 4000), Message("user", "u" * 4000))
    conversation.record(TokenLog(ids, 2, "benchmark"), Usage())
    reply = Message("assistant", "a" * 500, "t" * 4000, (ToolCall("c", "read_file", '{"file_path": "app.py"}'),))
    result = Message("tool", "r" * 8000, call_id="c")
    found: dict[str, list[float]] = {COMMIT: [], FLOOR: []}

    def ours() -> None:
        conversation.append(reply, result)
        conversation.record(log, Usage(len(ids), NEW_TOKENS))

    def theirs() -> None:
        row = ("a" * 500 + "t" * 4000 + "r" * 8000, bytes(4 * NEW_TOKENS))
        bare.execute("BEGIN IMMEDIATE")
        bare.execute("INSERT INTO steps (text, ids) VALUES (?, ?)", row)
        bare.execute("COMMIT")

    with shelf.claim(conversation):
        for _ in range(STEPS):
            ids += tuple(range(NEW_TOKENS))
            log = TokenLog(ids, len(conversation.messages) + 2, "benchmark")
            found[COMMIT].append(_took(ours))
            found[FLOOR].append(_took(theirs))
    bare.close()
    return found


def _shelf(root: Path, shelf: Conversations) -> dict[str, list[float]]:
    """Opening everything anew, with a thousand conversations of three messages kept."""
    for number in range(SHELF - len(shelf.list())):
        kept = shelf.create()
        said = (Message("system", "s" * 2000), Message("user", f"Task {number}. " + "u" * 3000))
        kept.append(*said, Message("assistant", "a" * 500, "t" * 4000))
    path = shelf.store.file.path
    shelf.store.file.close()
    found: dict[str, list[float]] = {OPEN: [], LIST: [], BARE: []}

    def bare() -> None:
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("SELECT * FROM conversations ORDER BY updated DESC").fetchall()

    def listed() -> None:
        fresh = Conversations.at(root)
        if len(fresh.list()) != SHELF:
            raise RuntimeError("not all conversations are listed")
        fresh.store.file.close()

    def opened() -> None:
        Workspace.open(root, Settings())
        listed()

    for _ in range(OPENINGS):
        for name, work in ((OPEN, opened), (LIST, listed), (BARE, bare)):
            found[name].append(_took(work))
    return found


def _took(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
