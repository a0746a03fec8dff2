"""What is known of one model family: context, abilities, sampling presets, and what is special about it.

Never asks a server: what is written here is a belief, which the client refines with what it saw.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from glm_lsp.terms import Sampling

if TYPE_CHECKING:
    from collections.abc import Mapping

Preset = Literal["default", "coding", "agent"]
"""Names of the sampling presets: chat and explanations, edits, tool-heavy automation."""

ToolWire = Literal["glm-tags", "none"]
"""How the model itself spells a tool call in raw text, where no server parses it."""

Suffix = Literal["glm-4.7", ""]
"""Whose chat template we can render the end of a conversation in; empty where none."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One model family as the rest of the house sees it.

    Attributes:
        id: a stable name for settings, logs and tests.
        names: regular expressions, searched in the lower-cased served name.
        context_length: tokens of prompt and reply together.
        tools: whether tools may be offered, natively or as text.
        thinking: whether the model can think before it speaks.
        thinking_switch: whether thinking can be turned off.
        preserves_thinking: whether thinking of earlier turns is sent back and kept by the model's template.
        sampling: a Sampling for every preset.
        tool_wire: the raw form of a tool call.
        suffix: the template in which a conversation kept as tokens is continued.
        notes: what is special, one sentence each.
        stand_in: whether this is not the real thing, only something to try things out with.
        banner: the one line that a person must see where `stand_in` is true.
    """

    id: str
    names: tuple[str, ...]
    context_length: int
    tools: bool
    thinking: bool
    thinking_switch: bool
    preserves_thinking: bool
    sampling: Mapping[Preset, Sampling]
    tool_wire: ToolWire = "none"
    suffix: Suffix = ""
    notes: tuple[str, ...] = ()
    stand_in: bool = False
    banner: str = ""


def profile_for(served_name: str) -> Profile:
    """Finds the profile of a served model by its name; `GENERIC` where no family is recognised."""
    name = served_name.lower()
    for profile in PROFILES:
        if any(re.search(pattern, name) for pattern in profile.names):
            return profile
    return GENERIC


def refined(
    profile: Profile,
    *,
    context_length: int | None = None,
    tools: bool | None = None,
    thinking: bool | None = None,
) -> Profile:
    """Replaces beliefs by what was seen; None means that nothing was learnt about it."""
    return dataclasses.replace(
        profile,
        context_length=context_length or profile.context_length,
        tools=profile.tools if tools is None else tools,
        thinking=profile.thinking if thinking is None else thinking,
    )


PRESETS: Mapping[Preset, Sampling] = MappingProxyType(
    {
        "default": Sampling(1.0, 0.95, 131_072),
        "coding": Sampling(0.7, 1.0, 16_384),
        "agent": Sampling(0.0, None, 16_384),
    }
)
"""The settings under which the model's makers evaluated it (model card of GLM-4.7)."""

_BRIEF = Sampling(0.0, None, 64)

GLM_47 = Profile(
    id="glm-4.7",
    names=(r"(?<![a-z0-9])glm-?4\.7(?![\dv]|-flash)",),
    context_length=202_752,
    tools=True,
    thinking=True,
    thinking_switch=True,
    preserves_thinking=True,
    sampling=PRESETS,
    tool_wire="glm-tags",
    suffix="glm-4.7",
    notes=(
        "The chat template strips white space around thinking and answers that are sent back.",
        "Earlier thinking is dropped unless the request says clear_thinking false.",
    ),
)

GLM_47_FLASH = dataclasses.replace(
    GLM_47,
    id="glm-4.7-flash",
    names=(r"(?<![a-z0-9])glm-?4\.7-flash",),
    notes=(*GLM_47.notes, "A quantised KV cache harms its answers over several turns (vllm issue 38652)."),
)

GLM_5 = dataclasses.replace(
    GLM_47,
    id="glm-5",
    names=(r"(?<![a-z0-9])glm-?5(?:\.0)?(?![\d.v])",),
    suffix="",  # its template is near to GLM-4.7's; until it was compared, messages are sent
)

GLM_51 = dataclasses.replace(
    GLM_5,
    id="glm-5.1",
    names=(r"(?<![a-z0-9])glm-?5\.1(?![\dv])",),
    notes=(*GLM_47.notes, "A tool's `strict` and `defer_loading` never reach the model."),
)

GLM_52 = dataclasses.replace(
    GLM_5,
    id="glm-5.2",
    names=(r"(?<![a-z0-9])glm-?5\.2(?![\dv])",),
    context_length=1_048_576,
    notes=(*GLM_47.notes, "Takes a reasoning effort of high or max as a template argument."),
)

GLM_53 = dataclasses.replace(
    GLM_5,
    id="glm-5.3",
    names=(r"(?<![a-z0-9])glm-?5\.3(?![\dv])",),
    thinking_switch=False,
    notes=(
        "Thinking cannot be switched off; a reasoning effort of low, high or max can be set.",
        "Earlier thinking is kept by default.",
    ),
)

SMOLLM2_135M = Profile(
    id="smollm2-135m",
    names=(r"(?<![a-z0-9])smollm2-135m",),
    context_length=4096,
    tools=False,
    thinking=False,
    thinking_switch=False,
    preserves_thinking=False,
    sampling=MappingProxyType({"default": _BRIEF, "coding": _BRIEF, "agent": _BRIEF}),
    notes=("Good for one short sentence about a small piece of code, and for nothing longer.",),
    stand_in=True,
    banner="SmolLM2-135M: a stand-in to try things out, not GLM-4.7",
)

GENERIC = Profile(
    id="generic",
    names=(),
    context_length=8192,
    tools=False,
    thinking=False,
    thinking_switch=True,
    preserves_thinking=False,
    sampling=PRESETS,
    notes=("An unknown model: nothing is taken for granted that the server has not shown.",),
)

PROFILES = (GLM_47, GLM_47_FLASH, GLM_5, GLM_51, GLM_52, GLM_53, SMOLLM2_135M)
"""Every known family; no name fits two of them."""
