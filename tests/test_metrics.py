"""What an engine does, seen by what it counts: real pages, bad pages, restarts, and the real engine."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics_page import LLAMA, REAL, SGLANG, PageServer, vllm
from test_real_engine import chat, request

from glm_lsp.engine.counters import Counted, Histogram, Sample, parse
from glm_lsp.engine.metrics import Figures, View, Watch
from glm_lsp.errors import CannotDo, GlmError, MalformedReply, Refused, Stalled
from glm_lsp.settings import EngineSettings

if TYPE_CHECKING:
    from pathlib import Path

    from engine.server import ForcedEngine


def sample(page: str, at: float = 2000.0) -> Sample:
    found = parse(page, at)
    assert found is not None
    return found


def watch(url: str, **environment: str) -> Watch:
    return Watch(EngineSettings(url=url), environment=environment)


def figures(of: Figures) -> list[float]:
    return [value for value in dataclasses.astuple(of) if value is not None]


# --- one page ----------------------------------------------------------------------------------------------------


def test_a_page_of_the_real_vllm_is_read_to_the_token() -> None:
    found = sample(REAL)
    assert (found.kind, found.model) == ("vllm", "glm-4.7-fp8")
    assert (found.counted.written, found.counted.read, found.counted.requests) == (81, 485, 3)
    assert (found.counted.reused, found.counted.looked_up) == (192, 485)
    assert (found.counted.steps, found.counted.drafted, found.counted.accepted) == (78, 78, 0)
    assert (found.running, found.waiting, found.kv, found.asleep) == (0, 0, 0, False)
    assert found.counted.first_token is not None
    assert found.counted.first_token.counts[-1] == 3
    assert found.counted.between_tokens is not None
    assert found.memory == pytest.approx(6.678e8, rel=1e-3)
    assert found.started == pytest.approx(1.7955e9, rel=1e-3)


def test_a_page_of_sglang_is_read() -> None:
    view = Watch(EngineSettings()).add(sample(SGLANG))
    assert (view.kind, view.running, view.waiting, view.kv) == ("sglang", 3, 2, 0.28)
    assert (view.ever.written, view.ever.reused, view.ever.accepted_length) == (750, 0.75, 1.9)
    assert view.ever.first_token_p50_s == pytest.approx(0.1)


def test_a_page_of_llama_cpp_is_read_and_what_it_does_not_tell_is_not_made_up() -> None:
    view = Watch(EngineSettings()).add(sample(LLAMA))
    assert (view.kind, view.running, view.waiting) == ("llama.cpp", 1, 4)
    assert (view.ever.written, view.ever.read) == (96, 512)
    assert (view.kv, view.up_s, view.ever.reused, view.ever.accepted, view.ever.first_token_p50_s) == (None,) * 5


def test_replicas_that_count_for_themselves_are_summed_and_their_caches_averaged() -> None:
    second = vllm(written=5, kv=0.6).replace('engine="0"', 'engine="1"')
    found = sample(vllm(written=7, kv=0.4) + second)
    assert (found.counted.written, found.kv) == (12, 0.5)


def test_an_engine_that_was_put_to_sleep_is_said_to_be() -> None:
    asleep = REAL.replace('sleep_state="awake"} 1.0', 'sleep_state="awake"} 0.0')
    assert asleep != REAL
    assert sample(asleep).asleep


@pytest.mark.parametrize(
    "page",
    ["", "\n", "<html><body>vllm:generation_tokens_total 3</body></html>\n", "go_goroutines 7\n", "{}\n", "vllm:\n"],
    ids=["empty", "a line end", "HTML", "of something else", "JSON", "half a name"],
)
def test_a_page_that_is_none_is_none(page: str) -> None:
    assert parse(page, 1.0) is None


@pytest.mark.parametrize(
    "line",
    [
        "vllm:generation_tokens_total",
        "vllm:generation_tokens_total nonsense",
        "vllm:generation_tokens_total NaN",
        "vllm:generation_tokens_total +Inf",
        "vllm:generation_tokens_total -4",
        'vllm:generation_tokens_total{model_name="a} 4',
        'vllm:generation_tokens_total{model_name="a",} 1_0',
        'vllm:time_to_first_token_seconds_bucket{le="soon"} 4',
        "vllm:generation_tokens_total{{{{ 4",
    ],
)
def test_a_line_that_is_none_takes_nothing_else_with_it(line: str) -> None:
    found = sample(f"{line}\n{vllm(written=3, read=9)}{line}\n")
    assert (found.counted.written, found.counted.read) == (3, 9)


@settings(deadline=None)
@given(st.integers(0, len(REAL)))
def test_a_page_that_breaks_off_anywhere_is_read_as_far_as_it_goes(length: int) -> None:
    whole, part = sample(REAL), parse(REAL[:length], 2000.0)
    if part is not None:
        for name in ("written", "read", "requests", "steps"):
            assert getattr(part.counted, name) in (None, getattr(whole.counted, name)) or name == "requests"


@settings(deadline=None)
@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    parse(text, 1.0)
    parse(f"vllm:generation_tokens_total{text}\n", 1.0)


# --- times -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ((0, 0, 0), 0.5, None),
        ((10, 10, 10), 0.5, 0.05),
        ((0, 10, 10), 0.5, 0.3),
        ((5, 10, 10), 0.95, 0.46),
        ((0, 0, 4), 0.5, 0.5),
        ((4, 4, 8), 0.5, 0.1),
    ],
    ids=["no case", "first bucket", "second bucket", "the tail", "beyond the last bound", "at an edge"],
)
def test_a_quantile_lies_evenly_within_its_bucket(
    counts: tuple[float, ...], share: float, expected: float | None
) -> None:
    found = Histogram((0.1, 0.5, math.inf), counts).quantile(share)
    assert found == (None if expected is None else pytest.approx(expected))


def test_a_histogram_without_its_last_bucket_is_none() -> None:
    assert sample(vllm().replace('le="+Inf"', 'le="9"')).counted.first_token is None
    assert Histogram((), ()).quantile(0.5) is None


# --- what lies between two samples -------------------------------------------------------------------------------


def test_rates_are_those_between_the_samples_and_of_the_last_minute() -> None:
    looks = Watch(EngineSettings())
    looks.add(sample(vllm(written=100, read=1000), 2000.0))
    looks.add(sample(vllm(written=100, read=1000), 2058.0))
    view = looks.add(sample(vllm(written=400, read=5000, reused=3000, first=(4, 8, 8), started=1000), 2060.0))
    assert (view.now.seconds, view.now.written, view.now.written_per_s, view.now.read_per_s) == (2, 300, 150, 2000)
    assert (view.minute.seconds, view.minute.written_per_s, view.minute.reused) == (60, 5, 0.75)
    assert view.minute.first_token_p50_s == pytest.approx(0.1)
    assert (view.ever.seconds, view.ever.written, view.up_s) == (1060, 400, 1060)
    later = looks.add(sample(vllm(written=400, read=5000, reused=3000, first=(4, 8, 8)), 2200.0))
    assert (later.minute.seconds, later.minute.written_per_s) == (None, None), "nothing is known of the last minute"


@pytest.mark.parametrize(
    "after",
    [
        sample(vllm(written=5), 2001.0),
        sample(vllm(written=500, started=1990.0), 2001.0),
        sample(vllm(written=500, first=(1, 1, 1)), 2001.0),
        sample(LLAMA, 2001.0),
        sample(vllm(written=500, first=(9, 9, 9)), 1999.0),
    ],
    ids=["it counts from nothing", "it began anew", "its times fell", "another server", "the clock went back"],
)
def test_after_a_restart_there_are_no_figures_until_the_next_look_and_none_is_negative(after: Sample) -> None:
    looks = Watch(EngineSettings())
    looks.add(sample(vllm(written=100, first=(9, 9, 9)), 2000.0))
    view = looks.add(after)
    assert view.now == view.minute == Figures()
    next_one = looks.add(dataclasses.replace(after, at=after.at + 1))
    assert next_one.now.seconds == 1
    assert next_one.now.written == 0


COUNTS = st.one_of(st.none(), st.floats(0, 1e12, allow_nan=False))


@settings(deadline=None)
@given(st.lists(st.tuples(COUNTS, COUNTS, COUNTS, st.floats(0, 1e10)), min_size=2, max_size=6))
def test_no_figure_is_ever_negative(rows: list[tuple[Any, ...]]) -> None:
    looks = Watch(EngineSettings())
    for written, read, reused, at in rows:
        view = looks.add(Sample(at, "vllm", counted=Counted(written, read, read, reused), started=5.0))
        for one in (view.now, view.minute, view.ever):
            assert all(value >= 0 for value in figures(one))


def test_a_counter_that_appears_later_counts_from_where_it_is_first_seen_whole() -> None:
    looks = Watch(EngineSettings())
    looks.add(Sample(1.0, "vllm", counted=Counted(written=5)))
    view = looks.add(Sample(2.0, "vllm", counted=Counted(written=9, preempted=3)))
    assert (view.now.written, view.now.preempted) == (4, 3)


# --- over the wire -----------------------------------------------------------------------------------------------


async def test_a_look_goes_to_the_page_beside_the_api_wherever_that_is(tmp_path: Path) -> None:
    server = PageServer([vllm(written=3)])
    async with server.running():
        for url in (server.url, f"{server.url}/", f"{server.url}/v1", f"{server.url}/v1/"):
            looks = watch(url)
            assert (await looks.look()).ever.written == 3
            await looks.close()
    assert set(server.asked) == {"/metrics"}
    async with PageServer([vllm(written=4)]).running(tmp_path / "s") as other:
        looks = watch(other.url)
        assert (await looks.look()).ever.written == 4
        await looks.close()


async def test_the_key_goes_with_it_and_a_wrong_one_is_said_to_be_and_not_shown() -> None:
    async with PageServer([vllm()], key="sk-right").running() as server:
        looks = watch(server.url, GLM_LSP_API_KEY="sk-right")
        assert (await looks.look()).state == "ready"
        await looks.close()
        for environment in ({}, {"GLM_LSP_API_KEY": "sk-wrong"}):
            with pytest.raises(Refused) as error:
                await watch(server.url, **environment).look()
            assert "sk-" not in f"{error.value.message} {error.value.hint}"


@pytest.mark.parametrize(
    ("page", "kind", "error"),
    [
        (404, "text/plain", CannotDo),
        (501, "text/plain", CannotDo),
        (500, "text/plain", GlmError),
        ("<!doctype html><title>Sign in</title>\n", "text/html", MalformedReply),
        ("", "text/plain", MalformedReply),
        ("up 1\n", "text/plain", MalformedReply),
    ],
    ids=["404", "501 of llama.cpp", "500", "HTML", "nothing", "metrics of something else"],
)
async def test_a_server_without_metrics_is_said_to_offer_none(page: Any, kind: str, error: type[GlmError]) -> None:
    async with PageServer([page], kind=kind).running() as server:
        with pytest.raises(error) as caught:
            await watch(server.url).look()
    assert server.url in caught.value.message
    assert caught.value.hint


async def test_a_server_that_hangs_is_not_waited_for() -> None:
    async with PageServer([vllm()], hangs=True).running() as server:
        with pytest.raises(Stalled):
            await watch(server.url).look(patience=0.2)


async def test_an_engine_that_goes_and_comes_is_seen_to_go_and_come() -> None:
    server = PageServer([vllm(written=1), 500, vllm(written=2), 404])
    views: list[View] = []
    async with server.running():
        async for view in watch(server.url).every(0.01):
            views.append(view)
            if len(views) == 4:
                break
    assert [view.state for view in views] == ["ready", "down", "ready", "down"]
    assert views[1].error
    assert views[2].now.written == 1


async def test_what_will_not_do_better_is_an_error_at_the_first_look() -> None:
    async with PageServer([404]).running() as server:
        with pytest.raises(CannotDo):
            async for _ in watch(server.url).every(0.01):
                pass


async def test_a_script_counts_nothing() -> None:
    with pytest.raises(CannotDo):
        await watch("scripted:/nowhere").look()


# --- the real engine ---------------------------------------------------------------------------------------------


@pytest.mark.engine
async def test_after_a_request_the_real_engine_counts_just_its_tokens_more(glm_engine: ForcedEngine) -> None:
    looks = watch(glm_engine.url)
    before = await looks.look()
    glm_engine.say("I look.</think>Done.", "I look.</think>Done.")
    asked = request("Count on from here. " * 40)
    used = [(await chat(glm_engine.url, asked))[-1]["usage"] for _ in range(2)]
    written = sum(one["completion_tokens"] for one in used)
    view = before
    for _ in range(50):  # vLLM counts a reply a moment after its last token
        view = await looks.look()
        if view.ever.written == (before.ever.written or 0) + written:
            break
        await asyncio.sleep(0.1)
    await looks.close()
    assert view.minute.written == written
    assert view.minute.read == sum(one["prompt_tokens"] for one in used)
    assert view.minute.requests == 2
    cached = sum((one["prompt_tokens_details"] or {}).get("cached_tokens", 0) for one in used)
    assert view.minute.reused == pytest.approx(cached / view.minute.read)
    assert cached > 0
    assert view.minute.first_token_p50_s is not None
    assert (view.kind, view.state, view.running, view.waiting) == ("vllm", "ready", 0, 0)
