"""`glm-lsp engine top` as a person and as a program run it: a process, a real page, a terminal."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import stat
import struct
from fcntl import ioctl
from termios import TIOCSWINSZ
from typing import TYPE_CHECKING, Any

import pyte
import pytest
from metrics_page import LLAMA, REAL, PageServer, vllm
from test_refactor import GLM, Person

from glm_lsp.cli.engine_top import Curves, curve, frame, line_of, summary
from glm_lsp.engine.metrics import Figures, Gpu, View

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path)


GROWING: list[str | int] = [
    vllm(written=100 * n, read=1000 * n, reused=970 * n, running=12, waiting=3, first=(n, 2 * n, 2 * n), started=1e9)
    for n in range(1, 300)
]


async def started(person: Person, *arguments: str, **environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(GLM, "engine", "top", *arguments),
        cwd=person.root,
        env={**person.environment, "XDG_RUNTIME_DIR": str(person.tmp), **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def done(person: Person, *arguments: str, **environment: str) -> tuple[int, str, str]:
    process = await started(person, *arguments, **environment)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert b"Traceback" not in err
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def lines(process: asyncio.subprocess.Process, number: int) -> AsyncIterator[str]:
    assert process.stdout is not None
    for _ in range(number):
        yield (await asyncio.wait_for(process.stdout.readline(), 60)).decode()


async def test_one_frame_says_it_all_in_words(person: Person) -> None:
    async with PageServer(list(GROWING)).running() as server:
        code, out, _ = await done(person, "--engine", server.url, "--once", "--interval", "0.2")
    assert code == 0
    assert "\x1b" not in out
    assert out.startswith("glm-4.7 · ready · up ")
    assert f"vllm at {server.url}" in out
    assert "now   last minute   since start" in out
    for words in ("written, tokens/s", "first token, p95", "97 %", "12 running · 3 waiting", "42 %"):
        assert words in out
    assert "MTP" not in out, "what a server does not tell has no row"


async def test_a_program_gets_a_line_of_json_for_each_look_until_it_ends_it(person: Person) -> None:
    async with PageServer(list(GROWING)).running() as server:
        process = await started(person, "--engine", server.url, "--json", "--interval", "0.1")
        rows = [json.loads(line) async for line in lines(process, 3)]
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, err) == (0, b"")
    assert [row["version"] for row in rows] == [1, 1, 1]
    assert [row["ever"]["written"] for row in rows] == [100, 200, 300]
    assert rows[0]["now"]["written"] is None
    assert rows[2]["now"]["written"] == 100
    assert set(rows[0]) == {"version", *View.__slots__}
    assert set(rows[0]["now"]) == set(Figures.__slots__)


async def test_what_was_recorded_is_what_was_seen_and_its_owners_alone(person: Person) -> None:
    file = person.tmp / "record.ndjson"
    async with PageServer(list(GROWING)).running() as server:
        for _ in range(2):
            arguments = ("--engine", server.url, "--once", "--interval", "0.1", "--record", str(file))
            code, _, _ = await done(person, *arguments)
            assert code == 0
    assert [json.loads(line)["state"] for line in file.read_text().splitlines()] == ["ready", "ready"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_a_record_that_cannot_be_written_is_said_before_anything_is_asked(person: Person) -> None:
    server = PageServer([vllm()])
    async with server.running():
        code, _, err = await done(person, "--engine", server.url, "--record", str(person.tmp / "no" / "file"))
    assert (code, server.asked) == (4, [])
    assert "--record" in err


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (PageServer([404]), "offers no metrics"),
        (PageServer([501]), "--metrics"),
        (PageServer(["<html></html>\n"], kind="text/html"), "text/html"),
        (PageServer([vllm()], key="sk-right"), "GLM_LSP_API_KEY"),
        (PageServer([vllm()], hangs=True), "No word"),
    ],
    ids=["404", "llama.cpp without its flag", "HTML", "wrong key", "silent"],
)
async def test_where_there_is_nothing_to_see_that_is_said_in_two_lines(
    person: Person, server: PageServer, words: str
) -> None:
    async with server.running():
        code, out, err = await done(person, "--engine", server.url, GLM_LSP_API_KEY="sk-wrong")
    assert (code, out) == (3, "")
    assert words in err
    assert "sk-" not in err
    assert len(err.splitlines()) == 2


async def test_without_an_engine_one_is_told_how_to_start_one(person: Person) -> None:
    code, _, err = await done(person, "--once")
    assert code == 3
    assert "glm-lsp engine start" in err


async def test_an_engine_that_is_away_is_waited_for_by_the_live_view(person: Person) -> None:
    process = await started(person, "--engine", "http://127.0.0.1:9", "--json", "--interval", "0.1")
    rows = [json.loads(line) async for line in lines(process, 2)]
    process.send_signal(signal.SIGINT)
    await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    assert {row["state"] for row in rows} == {"down"}
    assert "127.0.0.1:9" in rows[0]["error"]
    assert rows[0]["hint"]


async def test_on_a_terminal_the_frame_changes_in_place_and_the_last_one_stays(person: Person) -> None:
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", 40, 110, 0, 0))
    screen = pyte.Screen(110, 40)
    stream = pyte.ByteStream(screen)
    environment = {**person.environment, "TERM": "xterm-256color", "XDG_RUNTIME_DIR": str(person.tmp)}
    async with PageServer(list(GROWING)).running() as server:
        process = await asyncio.create_subprocess_exec(
            *(GLM, "engine", "top", "--engine", server.url, "--interval", "0.1"),
            cwd=person.root,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        os.set_blocking(ours, False)
        ended = False
        for _ in range(600):
            try:
                piece = os.read(ours, 65536)
            except BlockingIOError:
                piece = b""
            except OSError:
                break
            if piece:
                stream.feed(piece)
            seen = "\n".join(screen.display)
            if not ended and "▁" in seen.replace("▂", "▁").replace("█", "▁") and "since start" in seen:
                process.send_signal(signal.SIGINT)
                ended = True
            await asyncio.sleep(0.05)
        assert await asyncio.wait_for(process.wait(), 60) == 0
    os.close(ours)
    shown = "\n".join(screen.display)
    assert shown.count("glm-4.7 · ready") == 1
    assert shown.count("written, tokens/s") == 1
    assert not screen.cursor.hidden


# --- a frame by itself -------------------------------------------------------------------------------------------

FULL = View(
    at=1.0,
    state="ready",
    where="unix:/run/engine.sock",
    kind="vllm",
    model="glm-4.7",
    up_s=7260.0,
    running=12,
    waiting=3,
    waiting_why={"capacity": 3.0},
    kv=0.97,
    memory_bytes=3 << 30,
    gpus=(Gpu("H200", 120 << 30, 140 << 30, 0.97), Gpu("H200", 0, 0)),
    now=Figures(1, 800, 9000, 800.0, 9000.0, accepted_length=1.91, accepted=0.91),
    minute=Figures(60, first_token_p50_s=0.21, first_token_p95_s=12.4, between_tokens_p50_s=0.008, preempted=2),
)


def drawn(view: View, width: int = 100) -> str:
    return "\n".join(row.plain for row in frame(view, Curves(), width))


def test_a_frame_has_a_row_for_everything_that_is_known() -> None:
    text = drawn(FULL)
    for words in (
        *("up 2 h 1 min", "210 ms", "12 s", "8 ms", "91 %", "1.91", "requests preempted"),
        *("3 waiting (capacity 3)", "97 %", "3.0 GiB", "120.0 of 140.0 GiB · 97 % busy · H200"),
    ):
        assert words in text


def test_a_frame_of_an_engine_that_is_away_says_why_and_what_to_do() -> None:
    text = drawn(View(1.0, "down", "http://gpu:8000", error="Nothing answers.", hint="Start it."))
    assert text == "Engine · down · http://gpu:8000\n  Nothing answers.\n  → Start it."


def test_nothing_that_a_server_says_steers_the_terminal() -> None:
    hostile: Any = {"model": "glm\x1b[2J\n", "waiting_why": {"a\x1b[31m": 1.0}, "gpus": (Gpu("x\x07\n", 1, 2),)}
    view = View(1.0, "ready", running=1, waiting=1, **hostile)
    for text in (drawn(view), drawn(View(1.0, "down", error="gone\x1b[2J", hint="do\x1b[2J"))):
        assert not set(text) & {"\x1b", "\x07"}
    assert "\x1b" not in line_of(view)


def test_what_is_not_all_is_not_called_100_percent() -> None:
    assert "99 %" in drawn(View(1.0, "ready", now=Figures(reused=0.9999)))
    assert "97 %" in drawn(View(1.0, "ready", now=Figures(reused=0.97)))


@pytest.mark.parametrize(("values", "expected"), [([], ""), ([0, 0], "▁▁"), ([0, 1, 2], "▁▅█"), ([5], "█")], ids=str)
def test_a_curve_lies_between_nothing_and_its_highest(values: list[float], expected: str) -> None:
    assert curve(values) == expected


def test_a_curve_keeps_to_its_room() -> None:
    curves = Curves()
    for n in range(200):
        curves.add(View(1.0, "ready", now=Figures(written_per_s=float(n))))
    assert len(curves.of("written, tokens/s", 12)) == 12
    assert curves.of("written, tokens/s", -3) == ""
    assert curves.of("read, tokens/s", 12) == ""


def test_the_summary_is_one_line_of_what_is_known() -> None:
    from glm_lsp.engine.counters import parse
    from glm_lsp.engine.metrics import Watch
    from glm_lsp.settings import EngineSettings

    real, llama = parse(REAL, 1.7956e9), parse(LLAMA, 1.0)
    assert real is not None
    assert llama is not None
    said = summary(Watch(EngineSettings()).add(real))
    assert said == "0 running, 0 waiting · KV cache 0 % in use · 39 % reused · first token 50 ms · 1.00 tokens a step"
    assert summary(Watch(EngineSettings()).add(llama)) == "1 running, 4 waiting"
