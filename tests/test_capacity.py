"""The capacity model: what it must show whatever its estimates are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from benchmarks import capacity
from benchmarks.capacity import SPEEDS, Speed, Work
from glm_lsp.engine.local import hardware, plan

FAST = SPEEDS["4xH200"]
ROOMY = 100_000_000
USUAL = Work()


def simulate(speed: Speed, room: int, developers: int, work: Work = USUAL, **more: Any) -> dict[str, float]:
    return capacity.simulate(speed, room, 1, developers, work, seconds=3600, **more)


def test_the_same_seed_gives_the_same_figures() -> None:
    assert simulate(FAST, ROOMY, 4, seed=3) == simulate(FAST, ROOMY, 4, seed=3)


def test_one_developer_alone_gets_the_speed_of_one_reply() -> None:
    found = simulate(FAST, ROOMY, 1)
    assert found["tokens_per_second"] == pytest.approx(1 / FAST.step, rel=0.02)
    assert found["requests"] == pytest.approx(USUAL.turns * USUAL.steps, rel=0.6)


def test_a_cache_with_room_for_all_serves_nearly_all_of_each_prompt() -> None:
    assert simulate(FAST, ROOMY, 8)["cached"] > 0.9


def test_without_reuse_everything_is_read_again() -> None:
    none = simulate(FAST, ROOMY, 2, replace(USUAL, reuse=0.0))
    assert none["cached"] == 0.0
    assert none["ttft_p50"] > 3 * simulate(FAST, ROOMY, 2)["ttft_p50"]


def test_a_cache_too_small_loses_conversations_and_the_hosts_memory_brings_them_back() -> None:
    small = simulate(FAST, 200_000, 16)
    shelved = simulate(FAST, 200_000, 16, shelf=10_000_000)
    roomy = simulate(FAST, ROOMY, 16)
    assert small["cached"] < shelved["cached"] - 0.03
    assert small["ttft_p95"] > shelved["ttft_p95"] > roomy["ttft_p95"]


def test_a_crowd_is_slower_than_a_few() -> None:
    slow = Speed(0.02, 0.002, 5000)
    few, many = simulate(slow, ROOMY, 4), simulate(slow, ROOMY, 60)
    assert few["tokens_per_second"] > many["tokens_per_second"]
    assert few["ttft_p95"] < many["ttft_p95"]


def test_a_developer_alone_at_the_full_context_is_served_by_every_set_of_gpus() -> None:
    for gpus, speed in SPEEDS.items():
        made = plan.make(hardware.parse(gpus))
        found = simulate(speed, made.memory.tokens, 1, replace(USUAL, context=made.max_len - 20_000))
        assert found["cached"] > 0.9, gpus
