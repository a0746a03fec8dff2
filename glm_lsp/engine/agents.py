"""What other coding agents want to be told so that they use this engine: variables, commands, settings files.

Never asks the engine, and never writes a file: it only spells out an endpoint in each agent's own words.

Looked up in November 2026; each function names what it follows.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from glm_lsp.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}")
"""A model's name comes from a server, and goes into lines that a shell evaluates."""

PROVIDER = "glm-lsp"
"""How the provider is called where an agent wants a name for it."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an agent finds the engine.

    Attributes:
        url: the address without `/v1`, which is what Anthropic's libraries want; OpenAI's want it with `/v1`.
        key: what it shows there.
        model: the name of the model.
        context: tokens of its context.

    Raises:
        UsageError: the server's name for the model has characters that no model's name has.
    """

    url: str
    key: str
    model: str
    context: int

    def __post_init__(self) -> None:
        if not _SAFE_NAME.fullmatch(self.model):
            raise UsageError(
                f"The engine calls its model {self.model[:80]!r}, which is not put into a shell's command.",
                hint="Give it a plain name with --served-model-name, or set engine.model.",
            )

    @property
    def openai(self) -> str:
        """The root of the OpenAI API."""
        return f"{self.url}/v1"

    @property
    def output(self) -> int:
        """New tokens in one reply: a quarter of the context, at most 32,000, so that prompt and reply fit together."""
        return min(32_000, self.context // 4)


@dataclass(frozen=True, slots=True)
class Setup:
    """What one agent is told.

    Attributes:
        variables: variables of its environment.
        command: a command to run once, for an agent that keeps its settings itself.
        file: the content of a settings file.
        notes: what a person should know, a line each.
    """

    variables: dict[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    file: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def for_shell(self) -> str:
        """Lines that a shell can evaluate; for an agent that has a settings file only, that file."""
        lines = [f"export {name}={shlex.quote(value)}" for name, value in self.variables.items()]
        lines += [shlex.join(self.command)] if self.command else []
        return "\n".join(lines) if lines else json.dumps(self.file, indent=2)


def setup(agent: str, endpoint: Endpoint) -> Setup:
    """What this agent is told, by its name in AGENTS."""
    return AGENTS[agent](endpoint)


def _claude_code(at: Endpoint) -> Setup:
    """Claude Code, which speaks Anthropic's API.

    Its documentation, “LLM gateway” and “Environment variables” (code.claude.com/docs): the base URL is without `/v1`;
    ANTHROPIC_AUTH_TOKEN is sent as a bearer token, and an ANTHROPIC_API_KEY beside it would be taken instead; the
    models of all tiers are named, or background work would ask for a model that is not served. It takes 200,000 tokens
    of context for granted, and can be told to compact earlier. The attribution header differs with every request and
    stands first in the prompt, where it would make the prefix cache miss.
    """
    variables = {
        "ANTHROPIC_BASE_URL": at.url,
        "ANTHROPIC_AUTH_TOKEN": at.key,
        "ANTHROPIC_API_KEY": "",
        "ANTHROPIC_MODEL": at.model,
        "ANTHROPIC_DEFAULT_OPUS_MODEL": at.model,
        "ANTHROPIC_DEFAULT_SONNET_MODEL": at.model,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": at.model,
        "CLAUDE_CODE_SUBAGENT_MODEL": at.model,
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(at.output),
        "CLAUDE_CODE_AUTO_COMPACT_WINDOW": str(at.context),
        "CLAUDE_CODE_ATTRIBUTION_HEADER": "0",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "API_TIMEOUT_MS": "3000000",
    }
    return Setup(variables, notes=("Run `claude` in this shell. It keeps its thinking and sends it back itself.",))


def _openai(at: Endpoint) -> Setup:
    """Whatever uses OpenAI's libraries, by the variables that those read; OPENAI_API_BASE is what LiteLLM reads."""
    variables = {
        "OPENAI_BASE_URL": at.openai,
        "OPENAI_API_BASE": at.openai,
        "OPENAI_API_KEY": at.key,
        "OPENAI_MODEL": at.model,
    }
    return Setup(variables)


def _qwen_code(at: Endpoint) -> Setup:
    """Qwen Code, by “Authentication” in its documentation (qwenlm.github.io/qwen-code-docs): it takes OpenAI's variables.

    With all three set it asks for no login.
    """
    variables = {
        "OPENAI_BASE_URL": at.openai,
        "OPENAI_API_KEY": at.key,
        "OPENAI_MODEL": at.model,
        "QWEN_CODE_MAX_OUTPUT_TOKENS": str(at.output),
    }
    return Setup(variables, notes=("Run `qwen --auth-type openai` in this shell.",))


def _opencode(at: Endpoint) -> Setup:
    """Opencode, by “Providers” and “Config” in its documentation (opencode.ai/docs).

    OPENCODE_CONFIG_CONTENT is merged over its files; `interleaved` names the field in which thinking is sent back.
    """
    config = _opencode_config(at) | {"$schema": "https://opencode.ai/config.json"}
    return Setup(
        {"OPENCODE_CONFIG_CONTENT": json.dumps(config)},
        file=config,
        notes=("Run `opencode` in this shell; or put what --file prints into ~/.config/opencode/opencode.json.",),
    )


def _kilo(at: Endpoint) -> Setup:
    """Kilo Code's command line and its extension since 7.0, which are built on opencode and take the same settings.

    By “Custom models” and “CLI” in its documentation (kilo.ai/docs).
    """
    config = _opencode_config(at) | {"$schema": "https://app.kilo.ai/config.json"}
    return Setup(
        {"KILO_CONFIG_CONTENT": json.dumps(config)},
        file=config,
        notes=(
            "Run `kilo` in this shell; or put what --file prints into ~/.config/kilo/kilo.json.",
            "The extension reads that file too.",
        ),
    )


def _opencode_config(at: Endpoint) -> dict[str, Any]:
    model = {
        "name": at.model,
        "reasoning": True,
        "tool_call": True,
        "interleaved": {"field": "reasoning_content"},
        "limit": {"context": at.context, "output": at.output},
    }
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": PROVIDER,
        "options": {"baseURL": at.openai, "apiKey": at.key},
        "models": {at.model: model},
    }
    name = f"{PROVIDER}/{at.model}"
    return {"provider": {PROVIDER: provider}, "model": name, "small_model": name}


def _cline(at: Endpoint) -> Setup:
    """Cline's command line, by `cline auth --help` and “OpenAI Compatible” in its documentation (docs.cline.bot)."""
    command = ("cline", "auth", "openai-compatible", "-k", at.key, "-m", at.model, "-b", at.openai)
    fields = {"baseUrl": at.openai, "apiKey": at.key, "modelId": at.model, "contextWindow": at.context}
    return Setup(
        command=command,
        file=fields,
        notes=(
            "This sets `cline` up once and for all: it keeps provider and key in ~/.cline/data/settings/providers.json.",
            "In the extension choose the provider OpenAI Compatible, and fill in what --file prints.",
        ),
    )


def _roo(at: Endpoint) -> Setup:
    """Roo Code, an extension, by “Import and export” in its documentation (docs.roocode.com): a file of profiles."""
    profile = {
        "id": PROVIDER,
        "apiProvider": "openai",
        "openAiBaseUrl": at.openai,
        "openAiApiKey": at.key,
        "openAiModelId": at.model,
        "openAiStreamingEnabled": True,
        "openAiCustomModelInfo": {
            "maxTokens": at.output,
            "contextWindow": at.context,
            "supportsImages": False,
            "supportsPromptCache": False,
        },
    }
    return Setup(
        file={"providerProfiles": {"currentApiConfigName": PROVIDER, "apiConfigs": {PROVIDER: profile}}},
        notes=(
            "Write this into a file that only you can read, and import it: Settings, About, Import;",
            "or name that file in VS Code's setting roo-cline.autoImportSettingsPath.",
        ),
    )


AGENTS: Mapping[str, Callable[[Endpoint], Setup]] = {
    "claude-code": _claude_code,
    "cline": _cline,
    "kilo": _kilo,
    "opencode": _opencode,
    "openai": _openai,
    "qwen-code": _qwen_code,
    "roo": _roo,
}
"""Agents that are known, by the names that the command line takes."""
