"""A conversation made shorter for the model, when its context nears the limit: file bodies first, then a summary.

Never touches the record: the messages stay as they were said, and only what the model reads of them begins anew.
"""

from __future__ import annotations

import time
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from glm_lsp import prompt
from glm_lsp.errors import EngineError
from glm_lsp.store import Compaction
from glm_lsp.terms import Compacted, Message, Queued, Usage, Used, Warned
from glm_lsp.turn.listening import Listening

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from glm_lsp.conversations import Conversation
    from glm_lsp.edits.draft import Draft
    from glm_lsp.engine.engine import Engine
    from glm_lsp.engine.profiles import Preset
    from glm_lsp.terms import Happening

KEPT_SHARE = 8
"""The newest messages stay word for word, up to this part of the context: an eighth."""

SUMMARY_TOKENS = 4_096

LONG_RESULT = 2_000
"""Characters of an older tool result that stay; the body of a file goes as a whole."""

_BYTES_PER_TOKEN = 3.0
"""Of code and prose, where the engine has counted none yet."""


async def compact(
    conversation: Conversation,
    draft: Draft,
    engine: Engine,
    *,
    preset: Preset,
    share: float,
    words: str = "",
    thoroughly: bool = False,
) -> AsyncGenerator[Happening, None]:
    """Makes what the model reads shorter; yields Compacted last, or nothing where there is nothing to leave out.

    First the bodies of files in older messages are replaced by their path and digest. Where that does not bring the
    prompt to half of `share` of the context, the model writes a summary of the older messages, in whose place it
    stands; where it cannot, a list of what was asked and called does.

    Args:
        conversation: whose claim is held, and in which no tool call waits for its result.
        draft: forgets the files whose bodies are gone from view, so that they are read before they are edited.
        engine: connected.
        preset: how the summary is sampled.
        share: the part of the context at which a conversation is compacted.
        words: the person's wishes for the summary.
        thoroughly: whether a summary is written in any case, as when the person asks for it.
    """
    shown = conversation.shown
    before = prompt.tokens(conversation)
    length = engine.profile.context_length
    per_token = _bytes_per_token(conversation)
    kept = _newest(shown, int(length / KEPT_SHARE * per_token))
    older, newest = shown[:kept], shown[kept:]
    if len(older) < 2:
        return
    folded, files = _without_bodies(older)
    after = _reckoned(before, shown, (*folded, *newest), per_token)
    opening, summary, usage = folded, "", Usage()
    if thoroughly or after > share * length / 2:
        async with aclosing(
            _summary(conversation, engine, preset, words, str(draft.jail.root), fits=before < length)
        ) as parts:
            async for part in parts:
                if isinstance(part, str):
                    summary = part
                    continue
                if isinstance(part, Used):
                    usage += part.usage
                yield part
        opening = (*_heads(shown), _stand_in(conversation, older, newest, summary))
        after = _reckoned(before, shown, (*opening, *newest), per_token)
    if after >= before:
        return
    covers = len(conversation.messages) - len(newest)
    conversation.compact(Compaction(covers, opening, files, summary, before, after, time.time()))
    draft.forget()
    yield Compacted(before, after, files, summary, usage)


async def _summary(
    conversation: Conversation, engine: Engine, preset: Preset, words: str, workspace: str, *, fits: bool
) -> AsyncGenerator[Happening | str, None]:
    """Yields the happenings of the request, and the summary last."""
    told = ""
    if fits:
        asked = prompt.compose(conversation, engine.profile, preset=preset, thinking=False)
        cap = replace(asked.sampling, max_new_tokens=min(SUMMARY_TOKENS, asked.sampling.max_new_tokens))
        # The same messages and tools as always, and one more: the engine has read nearly all of it already.
        messages = (*asked.messages, prompt.summarise(words))
        request = replace(asked, messages=messages, sampling=cap, workspace=workspace)
        reply = Listening(None)
        try:
            async with aclosing(reply.listen(engine, request)) as happenings:
                async for what in happenings:
                    if isinstance(what, Used | Queued | Warned):
                        yield what
        except EngineError as error:
            yield Warned(error.code, f"No summary could be written: {error.message}")
        if reply.text.strip() and not reply.looping:
            told = reply.text.strip()
    yield told or _plain_record(conversation.messages)


def _plain_record(messages: Sequence[Message]) -> str:
    """What was asked, answered and edited, without a model."""
    lines = []
    for message in messages:
        if message.role == "user":
            text, _ = prompt.without_excerpts(message.text)
            lines.append(f"- The person: {_line(text, 400)}")
        elif message.role == "assistant":
            if message.text.strip() and not message.tool_calls:
                lines.append(f"- You: {_line(message.text, 400)}")
            lines += [f"  - you called {call.name} {_line(call.arguments, 120)}" for call in message.tool_calls]
    if len(lines) > 200:
        lines = [*lines[:50], f"- … {len(lines) - 200} lines left out …", *lines[-150:]]
    return "\n".join(lines)


def _line(text: str, length: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[:length]}…"


def _stand_in(conversation: Conversation, older: Sequence[Message], newest: Sequence[Message], summary: str) -> Message:
    """The message in the place of the older ones; with the words of the turn under way, if they are among those."""
    unfinished = ""
    end = [*older, *newest][-1]
    over = end.role == "assistant" and not end.tool_calls
    if not over and (not newest or newest[0].role == "assistant"):
        last = next((message.text for message in reversed(older) if message.role == "user"), "")
        unfinished = prompt.without_excerpts(last)[0][:8_000]
    return prompt.summarised(summary, conversation.seen, unfinished)


def _heads(shown: Sequence[Message]) -> tuple[Message, ...]:
    return tuple(shown[:1]) if shown and shown[0].role == "system" else ()


def _newest(shown: Sequence[Message], room: int) -> int:
    """The index from which messages stay: as many as fit into `room` bytes, from a user message where possible."""
    at, best, step = len(shown), len(shown), len(shown)
    while at > 1 and (room := room - prompt.size(shown[at - 1 : at])) >= 0:
        at -= 1
        if shown[at].role == "user":
            best = at
        elif shown[at].role == "assistant":
            step = at
    best = best if best < len(shown) else step
    if best > 1:
        return best
    # All of it is that new: then only the last ask stays, or nothing where that is all there is.
    last = max((n for n, message in enumerate(shown) if message.role == "user"), default=0)
    return last if last > 1 else len(shown)


def _without_bodies(messages: Sequence[Message]) -> tuple[tuple[Message, ...], int]:
    """The messages with the bodies of files and other long results left out, and how many that were."""
    calls = {call.id: call for message in messages for call in message.tool_calls}
    made: list[Message] = []
    count = 0
    for message in messages:
        text = message.text
        if message.role == "user":
            text, gone = prompt.without_excerpts(text)
            count += gone
        elif message.role == "tool" and len(text) > LONG_RESULT:
            call = calls.get(message.call_id)
            if call is not None and call.name == "read_file":
                text = prompt.left_out(text.split("\n", 1)[0].rstrip(":"), text)
            else:
                rest = prompt.left_out(f"the rest of this result of {call.name if call else 'a tool'}", text[1_000:])
                text = f"{text[:1_000]}\n{rest}"
            count += 1
        made.append(replace(message, text=text) if text is not message.text else message)
    return tuple(made), count


def _bytes_per_token(conversation: Conversation) -> float:
    """Measured on this conversation, where the engine has counted."""
    if (measured := conversation.measured) is None:
        return _BYTES_PER_TOKEN
    counted, covers = measured
    tools = sum(len(str(tool)) for tool in conversation.tools)
    return max(1.0, (tools + prompt.size(conversation.shown[:covers])) / counted)


def _reckoned(before: int, shown: Sequence[Message], fresh: Sequence[Message], per_token: float) -> int:
    """Tokens of the prompt afterwards, by this conversation's own bytes per token."""
    return max(1, before - int((prompt.size(shown) - prompt.size(fresh)) / per_token))
