"""What an answer that is not a completion means: each kind of server's own words, turned into an error of ours.

Never opens a connection, and never shows more of a server's words than a person needs.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import msgspec

from glm_lsp.errors import (
    CannotDo,
    ContextTooLong,
    DiedMidStream,
    EngineError,
    MalformedReply,
    Overloaded,
    Refused,
    Unreachable,
    WrongModel,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


def spoken(payload: bytes) -> tuple[str, int | None]:
    """Reads a server's own words out of an error's body, and the status inside it if there is one.

    Returns:
        The words, at most 500 characters of them and empty where there are none, and the status or None.
    """
    problem = _problem(payload)
    words = problem.message
    code = problem.code
    status = code if isinstance(code, int) and 100 <= code < 600 else None
    return (words or problem.type)[:500], status


def explain(
    status: int,
    payload: bytes,
    *,
    where: str,
    model: str,
    served: Sequence[str] = (),
    key: str = "",
    no_key: str = "",
    retry_after: float | None = None,
) -> EngineError:
    """Turns an answer that is not a completion into the error that says what to do about it.

    Args:
        status: the HTTP status, or the one inside an error event.
        payload: the body, or the event's data.
        where: the engine's address as it may be shown.
        model: the name that was asked for.
        served: the names the engine serves, where known.
        key: where the key came from that was sent; empty where none was.
        no_key: what to do about having none.
        retry_after: seconds the server asked us to wait.
    """
    words, _ = spoken(payload)
    says = f": {words.rstrip('.')}." if words else "."
    if status in (401, 403, 407):
        hint = f"The key from {key} does not open it." if key else no_key or "It wants a key."
        return Refused(f"The engine at {where} refuses us ({status}){says}", hint=hint)
    if status == 402:
        return Refused(f"The engine at {where} wants to be paid (402){says}", hint="Look at the account's balance.")
    if 300 <= status < 400:
        return Refused(
            f"The engine at {where} sends us elsewhere ({status}), which is not followed.",
            hint="Set engine.url to the final address.",
        )
    if status == 413 or (status in (400, 422, 500) and _TOO_LONG.search(f"{words} {_kind(payload)}")):
        return _too_long(payload, words, where)
    if status == 404 and "model" in words.lower():
        names = f" It serves {', '.join(served)}." if served else ""
        return WrongModel(
            f"The engine at {where} has no model {model}{says if not served else '.'}{names}",
            hint="Set engine.model to one of them." if served else "Set engine.model to a model that it serves.",
        )
    if status == 400 and (pinned := _PINNED.search(words)):  # transformers serve, where it was started for one model
        return WrongModel(
            f"The engine at {where} has no model {model}; it serves {pinned['model']}.",
            hint="Set engine.model to one it serves.",
        )
    if status in (404, 405, 410):
        return MalformedReply(
            f"There are no chat completions at {where} ({status}){says}",
            hint="engine.url is the address up to, and with or without, the /v1.",
        )
    if status in (429, 503, 529):
        hint = f"Try again in {retry_after:.0f} s." if retry_after else "Try again in a moment."
        return Overloaded(f"The engine at {where} is too busy ({status}){says}", hint=hint, retry_after=retry_after)
    if status in (502, 504):
        return Unreachable(
            f"The gateway at {where} does not reach its engine ({status}){says}",
            hint="See whether the engine behind it runs.",
            retryable=True,
        )
    if status >= 500:
        return DiedMidStream(
            f"The engine at {where} failed ({status}){says}", hint="Its own log says why.", retryable=True
        )
    return CannotDo(
        f"The engine at {where} does not take the request ({status}){says}",
        hint="See whether engine.dialect and engine.extra_body fit this server.",
    )


def refuses_tools(status: int, payload: bytes) -> bool:
    """Says whether a refusal is about the tools that came with the request.

    vLLM answers 400 (without --enable-auto-tool-choice), llama.cpp 500 (without --jinja).
    """
    words = spoken(payload)[0]
    return status in (400, 404, 422, 500, 501) and bool(_TOOLS.search(words)) and not _TOO_LONG.search(words)


_PINNED = re.compile(r"pinned to '(?P<model>[^']+)'")
_TOOLS = re.compile(r"\btools?\b|\btool[_ ](?:choice|use|call)", re.IGNORECASE)

_TOO_LONG = re.compile(
    r"maximum context length|context[ _]length[ _]exceeded|exceed_context_size|exceeds? (?:the |model's )?(?:available |maximum )?context"
    r"|exceeds? max(?:imum)? length|longer than the (?:model's context|maximum model) length|prompt is too long",
    re.IGNORECASE,
)

_LIMIT = re.compile(
    r"maximum context length(?: is| of)? \(?(\d+)|context length \((\d+)|context size \((\d+)"
    r"|maximum model length of (\d+)|while limit is (\d+)",
    re.IGNORECASE,
)

# Each with what the request takes up: vLLM since 0.12, vLLM before and OpenAI, SGLang and vLLM's generic form, Cerebras.
_TAKEN = (
    re.compile(r"contains (\d+) input tokens|has (\d+) input tokens", re.IGNORECASE),
    re.compile(r"requested (\d+) tokens|resulted in (\d+) tokens", re.IGNORECASE),
    re.compile(r"(?:input|request|prompt)(?: length)? \((\d+)|length of (\d+)\)? is longer", re.IGNORECASE),
    re.compile(r"length is (\d+) while", re.IGNORECASE),
)

_CAP = re.compile(r"too large: (\d+)")


def _too_long(payload: bytes, words: str, where: str) -> ContextTooLong:
    limit = _number(_LIMIT, words)
    taken = next((n for pattern in _TAKEN if (n := _number(pattern, words)) is not None), None)
    if (problem := _problem(payload)).n_ctx:  # llama.cpp since its pull request 15780, and Ollama through it
        limit, taken = problem.n_ctx or limit, problem.n_prompt_tokens or taken
    over = None
    if limit is not None and taken is not None:
        cap = _number(_CAP, words) or 0
        over = taken + cap - limit if taken + cap > limit else None
    size = f" of {limit:,} tokens" if limit is not None else ""
    much = f" by {over:,} tokens" if over is not None else ""
    return ContextTooLong(
        f"The prompt does not fit into the context{size} of the engine at {where}{much}.",
        hint="Name fewer or smaller files, or start a new conversation.",
        over_by=over,
    )


def _kind(payload: bytes) -> str:
    """The names that a server gives to what went wrong."""
    problem = _problem(payload)
    return f"{problem.type} {problem.code or ''}"


def _problem(payload: bytes) -> _Problem:
    try:
        refusal = msgspec.json.decode(payload, type=_Refusal)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Problem()
    if isinstance(refusal.error, _Problem):
        return refusal.error
    words = refusal.error if isinstance(refusal.error, str) else refusal.message or ""
    if not words and refusal.detail:
        words = refusal.detail if isinstance(refusal.detail, str) else json.dumps(refusal.detail, ensure_ascii=False)
    return _Problem(message=words, code=refusal.code)


def _number(pattern: re.Pattern[str], words: str) -> int | None:
    found = pattern.search(words)
    return int(next(group for group in found.groups() if group)) if found else None


# --- the wire ----------------------------------------------------------------------------------------------------


class _Problem(msgspec.Struct):
    message: str = ""
    type: str = ""
    code: int | str | None = None
    n_prompt_tokens: int | None = None
    n_ctx: int | None = None


class _Refusal(msgspec.Struct):
    """The shapes in use: `{"error": {...}}`, `{"error": "..."}`, `{"message": ...}`, `{"detail": ...}`."""

    error: _Problem | str | None = None
    message: str | None = None
    detail: Any = None
    code: int | str | None = None
