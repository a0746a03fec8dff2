"""What is believed of a model from its name, before its server has shown anything."""

from __future__ import annotations

import re

import pytest

from glm_lsp.engine import profiles
from glm_lsp.engine.dialects import GENERIC as GENERIC_DIALECT
from glm_lsp.engine.dialects import VLLM, body
from glm_lsp.terms import Message, Prompt, Sampling


@pytest.mark.parametrize(
    ("served", "expected"),
    [
        ("zai-org/GLM-4.7-FP8", "glm-4.7"),
        ("zai-org/GLM-4.7", "glm-4.7"),
        ("glm-4.7-fp8", "glm-4.7"),
        ("z-ai/glm-4.7", "glm-4.7"),
        ("zai-glm-4.7", "glm-4.7"),
        ("/models/GLM-4.7-FP8", "glm-4.7"),
        ("zai-org/GLM-4.7-Flash", "glm-4.7-flash"),
        ("glm-4.7-flashx", "glm-4.7-flash"),
        ("zai-org/GLM-5", "glm-5"),
        ("zai-org/GLM-5-FP8", "glm-5"),
        ("glm-5.1", "glm-5.1"),
        ("zai-org/GLM-5.2-FP8", "glm-5.2"),
        ("glm-5.3-flash", "glm-5.3"),
        ("smollm2-135m", "smollm2-135m"),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "smollm2-135m"),
        ("glm-4.75", "generic"),
        ("glm-4.7v", "generic"),
        ("glm-4.6", "generic"),
        ("glm-50", "generic"),
        ("smollm2-1.7b", "generic"),
        ("gpt-oss-120b", "generic"),
        ("", "generic"),
    ],
)
def test_a_served_name_finds_its_profile(served: str, expected: str) -> None:
    assert profiles.profile_for(served).id == expected


def test_no_name_fits_two_profiles() -> None:
    for name in (profile.id for profile in profiles.PROFILES):
        fits = [p.id for p in profiles.PROFILES if any(re.search(pattern, name) for pattern in p.names)]
        assert fits == [name]


@pytest.mark.parametrize("profile", profiles.PROFILES[:-1], ids=lambda profile: profile.id)
def test_every_glm_has_the_presets_of_its_makers(profile: profiles.Profile) -> None:
    assert dict(profile.sampling) == {
        "default": Sampling(1.0, 0.95, 131072),
        "coding": Sampling(0.7, 1.0, 16384),
        "agent": Sampling(0.0, None, 16384),
    }
    assert profile.tools
    assert profile.thinking
    assert profile.preserves_thinking
    assert not profile.stand_in


def test_the_stand_in_says_what_it_is() -> None:
    assert profiles.SMOLLM2_135M.stand_in
    assert profiles.SMOLLM2_135M.banner == "SmolLM2-135M: a stand-in to try things out, not GLM-4.7"
    assert all(sampling.max_new_tokens <= 64 for sampling in profiles.SMOLLM2_135M.sampling.values())


def test_what_was_seen_replaces_what_was_believed() -> None:
    seen = profiles.refined(profiles.GENERIC, context_length=32768, tools=True, thinking=True)
    assert (seen.context_length, seen.tools, seen.thinking) == (32768, True, True)
    assert profiles.refined(profiles.GLM_47) == profiles.GLM_47
    assert not profiles.refined(profiles.GLM_47, tools=False).tools


PROMPT = Prompt((Message("user", "x" * 3000),), (), thinking=False, sampling=Sampling(1.0, None, 131072))


def test_a_model_that_cannot_stop_thinking_is_not_asked_to() -> None:
    sent = body(VLLM, profiles.GLM_53, "glm-5.3", PROMPT)
    assert sent["chat_template_kwargs"] == {"clear_thinking": False}


@pytest.mark.parametrize("profile", [profiles.GLM_47, profiles.GENERIC, profiles.SMOLLM2_135M], ids=lambda p: p.id)
def test_new_tokens_never_exceed_the_context(profile: profiles.Profile) -> None:
    assert body(VLLM, profile, "m", PROMPT)["max_completion_tokens"] <= profile.context_length
    assert 1 <= body(GENERIC_DIALECT, profile, "m", PROMPT)["max_tokens"] <= profile.context_length - 1000


def test_a_prompt_longer_than_the_context_still_asks_for_a_token() -> None:
    huge = Prompt((Message("user", "x" * 100_000),), (), thinking=False, sampling=PROMPT.sampling)
    assert body(GENERIC_DIALECT, profiles.GENERIC, "m", huge)["max_tokens"] == 1
