"""What an editor's status page shows of the engine: `glm/engineStatus`, and the same as text for any client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lsp.editor import FakeEditor
from metrics_page import PageServer, vllm
from stories import project

from glm_lsp.server import wire
from glm_lsp.server.engine_status import EngineSeen, lines
from glm_lsp.settings import EngineSettings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return project(tmp_path / "work", cart_py="x = 1\n")


PAGES: list[str | int] = [
    vllm(written=100 * n, read=1000 * n, reused=970 * n, running=12, waiting=3, first=(n, 2 * n, 2 * n), started=1e9)
    for n in range(1, 50)
]


async def test_an_editor_is_told_what_the_engine_does_and_rates_from_the_second_look_on(root: Path) -> None:
    async with PageServer(list(PAGES)).running() as server, FakeEditor(root, server.url, glm=True, own=True) as editor:
        first = await editor.ask("glm/engineStatus", {})
        second = await editor.ask("glm/engineStatus", {})
    assert first["state"] == "ready"
    assert (first["model"], first["url"]) == ("glm-4.7", server.url)
    assert (first["running"], first["waiting"], first["kvUse"]) == (12, 3, 0.42)
    assert first["reused"] == pytest.approx(0.97)
    assert first["firstTokenMedian"] == pytest.approx(0.1)
    assert "writtenPerSecond" not in first
    assert second["writtenPerSecond"] > 0
    assert second["readPerSecond"] == pytest.approx(10 * second["writtenPerSecond"])
    assert "draftsAccepted" not in second, "what it does not tell is absent"


@pytest.mark.parametrize(
    ("page", "state", "words"), [(404, "unknown", "offers no metrics"), (500, "down", "500")], ids=str
)
async def test_an_engine_without_figures_is_a_state_and_a_sentence(page: int, state: str, words: str) -> None:
    async with PageServer([page]).running() as server:
        told = await EngineSeen().status(EngineSettings(url=server.url))
    assert told.state == state
    assert words in told.message
    assert list(lines(told)) == [f"- The engine's figures: {told.message}"]


async def test_nobody_waits_long_for_an_engine_that_says_nothing(root: Path) -> None:
    async with PageServer([vllm()], hangs=True).running() as server:
        told = await EngineSeen().status(EngineSettings(url=server.url))
    assert "1.5 s" in told.message


async def test_another_engine_in_the_settings_is_another_engine_on_the_page() -> None:
    seen = EngineSeen()
    async with PageServer([vllm(written=5)]).running() as one, PageServer([vllm(written=9)]).running() as other:
        assert (await seen.status(EngineSettings(url=one.url))).url == one.url
        told = await seen.status(EngineSettings(url=other.url))
    assert (told.url, told.written_per_second) == (other.url, None)


async def test_the_page_that_any_client_is_shown_has_the_figures(root: Path) -> None:
    async with PageServer(list(PAGES)).running() as server, FakeEditor(root, server.url, own=True) as editor:
        await editor.run("glm.status")
        (shown,) = editor.read("window/showDocument")
        text = (await editor.ask("workspace/textDocumentContent", {"uri": shown["uri"]}))["text"]
    assert "- Requests running: 12" in text
    assert "- Prefix cache, reused: 97 %" in text


def test_the_lines_leave_out_what_is_not_known() -> None:
    told = wire.EngineStatusResult(
        state="ready",
        running=0,
        memory_bytes=3 << 30,
        gpus=(wire.GpuStatus(name="H200", used_bytes=1 << 30, total_bytes=2 << 30, busy=0.5),),
    )
    assert list(lines(told)) == [
        "- Requests running: 0",
        "- Memory: 3.0 GiB",
        "- H200: 1.0 of 2.0 GiB, 50 % busy",
    ]
