"""An engine that replays a script: for fast tests, demonstrations and editors' own test runs.

Never opens a connection and never waits longer than the script says.

A script is a JSON file; the address `scripted:/path/to/script.json` opens it:

    {
      "model": "glm-4.7",                      the name it gives itself, which also picks the profile
      "chop": 4,                               characters in a delta; 0, the default, for whole strings
      "delay": 0.01,                           seconds before each delta; 0 by default
      "repeat": false,                         whether replies can be given again; each is given once by default
      "replies": [
        {
          "when": "rename",                    given only to a prompt that holds this; to any prompt without it
          "thinking": "Let me look.",
          "text": "I will rename it.",
          "calls": [{"name": "edit_file", "arguments": {"file_path": "a.py"}}],
          "finish": "tool_calls",              by default `tool_calls` with calls, else `stop`
          "usage": {"read": 900, "written": 40, "cached": 800, "thought": 12},
          "error": {"code": "stalled", "message": "...", "hint": "..."}      raised in place of the end
        }
      ]
    }

Every prompt gets the first reply that is left and fits; all fields of a reply may be left out.
A call's `arguments` may also be a string, which is sent as it stands: half a JSON object, say.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

import msgspec

from glm_lsp import errors
from glm_lsp.engine import profiles
from glm_lsp.errors import CannotDo, EngineError, UsageError
from glm_lsp.terms import Delta, FinishReason, ToolCallDelta, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from glm_lsp.engine.profiles import Profile
    from glm_lsp.terms import Prompt, TokenLog

Reply = tuple[Delta | EngineError, ...]
"""What one request gets, in order; an error is raised where it stands."""


class ScriptedEngine:
    """Gives the replies of a script, one a request.

    Args:
        replies: what to say, made with `said` or by hand.
        when: for each reply a text that the prompt must hold for it to be given; shorter or empty means any prompt.
        profile: what it says of itself.
        model: the name it gives itself.
        chop: characters in a delta at most; 0 leaves the deltas as they are.
        delay: seconds before each delta.
        repeat: whether a reply can be given more than once.

    Attributes:
        prompts: the prompts it was given, oldest first.
        abandoned: how many streams were closed before their end.
    """

    def __init__(
        self,
        replies: Sequence[Reply],
        *,
        when: Sequence[str] = (),
        profile: Profile = profiles.GLM_47,
        model: str = "glm-4.7",
        chop: int = 0,
        delay: float = 0.0,
        repeat: bool = False,
    ) -> None:
        texts = [*when, *[""] * (len(replies) - len(when))]
        self._left = list(zip(texts, replies, strict=True))
        self._profile = profile
        self._model = model
        self._chop = chop
        self._delay = delay
        self._repeat = repeat
        self.prompts: list[Prompt] = []
        self.abandoned = 0

    @classmethod
    def load(cls, path: Path) -> ScriptedEngine:
        """Reads a script from a file.

        Raises:
            UsageError: it cannot be read or is not a script.
        """
        hint = "The form is described in glm_lsp/engine/scripted.py."
        try:
            script = msgspec.json.decode(path.read_bytes(), type=_Script)
            replies = tuple(_reply(each) for each in script.replies)
        except OSError as error:
            raise UsageError(f"The script {path} cannot be read: {error.strerror}.") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"The script {path} is not one: {error}.", hint=hint) from error
        return cls(
            replies,
            when=[each.when for each in script.replies],
            profile=profiles.profile_for(script.model),
            model=script.model,
            chop=script.chop,
            delay=script.delay,
            repeat=script.repeat,
        )

    @property
    def model(self) -> str:
        """The name it gives itself."""
        return self._model

    @property
    def profile(self) -> Profile:
        """What it says of itself."""
        return self._profile

    async def connect(self) -> None:
        """Does nothing: a script is always there."""

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """Gives the next reply that fits.

        Raises:
            EngineError: the script says so, or has no reply left.
        """
        self.prompts.append(prompt)
        request = len(self.prompts)
        reply = self._next(prompt)
        ended = False
        try:
            for step in reply:
                if isinstance(step, EngineError):
                    ended = True
                    raise step
                for piece in _chopped(_with_ids(step, request), self._chop):
                    await asyncio.sleep(self._delay)  # also with 0: others get their turn, as with a real connection
                    ended = piece.finish is not None
                    yield piece
            ended = True
        finally:
            self.abandoned += not ended

    def take_notes(self) -> tuple[str, ...]:
        """Has nothing to say."""
        return ()

    async def close(self) -> None:
        """Does nothing."""

    def _next(self, prompt: Prompt) -> Reply:
        text = "\n".join(message.text for message in prompt.messages)
        for index, (when, reply) in enumerate(self._left):
            if when in text:
                if not self._repeat:
                    del self._left[index]
                return reply
        raise CannotDo(f"The script has no reply to request {len(self.prompts)}.", hint="Add one to the script.")


def said(
    text: str = "",
    *,
    thinking: str = "",
    calls: Sequence[tuple[str, dict[str, Any] | str]] = (),
    finish: FinishReason | None = None,
    usage: Usage | None = None,
    error: EngineError | None = None,
    log: TokenLog | None = None,
) -> Reply:
    """Makes a reply of what is said, in the order in which a model says it: thinking, text, calls.

    Args:
        text: the answer.
        thinking: what comes before it.
        calls: names of tools and their arguments; a string of arguments is sent as it stands.
        finish: why it ends; by default `tool_calls` with calls, else `stop`.
        usage: tokens, told with the end.
        error: raised in place of the end.
        log: the tokens so far, told with the end.
    """
    steps: list[Delta | EngineError] = []
    if thinking:
        steps.append(Delta(thinking=thinking, written=(usage and usage.thought) or 0))
    if text:
        steps.append(Delta(text=text))
    for index, (name, arguments) in enumerate(calls):
        raw = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
        steps.append(Delta(tool_calls=(ToolCallDelta(index, "", name, raw),)))
    steps.append(error or Delta(usage=usage, finish=finish or ("tool_calls" if calls else "stop"), log=log))
    return tuple(steps)


def _with_ids(delta: Delta, request: int) -> Delta:
    """Gives every call that begins here an id, where the script has none, that no other request's call has."""
    if not delta.tool_calls:
        return delta
    calls = (
        dataclasses.replace(call, id=f"call-{request}-{call.index}") if call.name and not call.id else call
        for call in delta.tool_calls
    )
    return dataclasses.replace(delta, tool_calls=tuple(calls))


def _chopped(delta: Delta, size: int) -> list[Delta]:
    """Cuts a Delta into ones of at most `size` characters; what is not text comes with the last."""
    if size <= 0:
        return [delta]
    pieces = [Delta(thinking=part, written=delta.written) for part in _parts(delta.thinking, size)]
    pieces += [Delta(text=part) for part in _parts(delta.text, size)]
    for call in delta.tool_calls:
        parts = _parts(call.arguments, size)
        pieces.append(Delta(tool_calls=(ToolCallDelta(call.index, call.id, call.name),)))
        pieces += [Delta(tool_calls=(ToolCallDelta(call.index, arguments=part),)) for part in parts]
    if delta.usage is not None or delta.finish is not None or not pieces:
        pieces.append(Delta(usage=delta.usage, finish=delta.finish, log=delta.log))
    return pieces


def _parts(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


# --- the file ----------------------------------------------------------------------------------------------------


class _Call(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    arguments: dict[str, Any] | str = {}


class _Tokens(msgspec.Struct, forbid_unknown_fields=True):
    read: int = 0
    written: int = 0
    cached: int | None = None
    thought: int | None = None


class _Failure(msgspec.Struct, forbid_unknown_fields=True):
    code: str
    message: str = "The script ends here."
    hint: str = ""


class _Said(msgspec.Struct, forbid_unknown_fields=True):
    when: str = ""
    thinking: str = ""
    text: str = ""
    calls: list[_Call] = []
    finish: FinishReason | None = None
    usage: _Tokens | None = None
    error: _Failure | None = None


class _Script(msgspec.Struct, forbid_unknown_fields=True):
    replies: list[_Said]
    model: str = "glm-4.7"
    chop: int = 0
    delay: float = 0.0
    repeat: bool = False


def _reply(each: _Said) -> Reply:
    return said(
        each.text,
        thinking=each.thinking,
        calls=[(call.name, call.arguments) for call in each.calls],
        finish=each.finish,
        usage=Usage(**msgspec.structs.asdict(each.usage)) if each.usage else None,
        error=_error(each.error) if each.error else None,
    )


def _error(failure: _Failure) -> EngineError:
    found = (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, EngineError))
    kinds = {kind("").code: kind for kind in found}
    if failure.code not in kinds:
        raise UsageError(f"There is no engine error {failure.code!r}.", hint=f"There are: {', '.join(sorted(kinds))}.")
    return kinds[failure.code](failure.message, hint=failure.hint)
