"""How much of a conversation the engine reads from its cache, by how earlier thinking comes back.

Never measures time: the engine is the real vLLM with a tiny GLM-4.7, whose words are forced, so only tokens count.

Nine requests: three tasks of a person, each with two tool steps and an answer. What could be cached of a request is the
prompt and the reply before it, in full blocks; the last sampled token is never in the cache (vLLM does not write it).

The last rows are with multi-token prediction on. vLLM then gives up the last block that it finds, once a request; and
it takes no logits processor, so the words are not forced: they are drawn letter by letter from a few.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib
import re
import secrets
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from glm_lsp import tools
from glm_lsp.engine.client import HttpEngine
from glm_lsp.engine.local import process
from glm_lsp.settings import EngineSettings
from glm_lsp.terms import Message, Prompt, Sampling, ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from glm_lsp.terms import TokenLog

NAME = "prefix-reuse"
DOC = "share of what could be cached that is, over nine requests of three tasks, on the real test engine"

BLOCK = 32  # tokens; the smallest that vLLM has on a CPU
TASKS = 3

_MARK = re.compile(r"(<[|/]?[a-z_]+\|?>)")
_HEAD = Message("system", "You work on the code of one workspace, through tools, for the person who asks. " * 4)
_FILE = "".join(f"{n}: def total_{n}(items): return sum(item.price for item in items)\n" for n in range(1, 13))


@dataclass(frozen=True, slots=True)
class Client:
    """One way in which earlier thinking comes back.

    Attributes:
        name: how the table calls it.
        template: arguments of the chat template besides ours.
        thinking: whether messages carry the thinking.
        exact: whether it continues from tokens.
    """

    name: str
    template: dict[str, Any]
    thinking: bool = True
    exact: bool = False


CLIENTS = (
    Client("a client that drops thinking", {}, thinking=False),
    Client("the template's default", {"clear_thinking": True}),  # which is what it does where nothing is said
    Client("messages verbatim, thinking kept", {}),
    Client("glm-lsp, token-exact", {}, exact=True),
)

SHAPES = ("canonical", "new lines around", "split otherwise")
"""How the model writes: as its template would, with white space that the template strips, letter by letter."""

DRAFTED = "at random, MTP on"
_DRAWN = "the sum of</think><|user|>"
_FEWEST = 120  # tokens of a drawn reply; that no `</think>` is among so many does not happen


def run() -> dict[str, Any]:
    """Measures every client on every shape; each has a part of the cache of its own."""
    with _engine() as forced:
        rows = [asyncio.run(_measure(forced, client, shape)) for shape in SHAPES for client in CLIENTS]
    with _engine(mtp=True) as drafting:
        rows += [asyncio.run(_measure(drafting, client, DRAFTED)) for client in CLIENTS]
    return {"rows": rows, "block": BLOCK, "requests": 3 * TASKS}


def table(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows for a person."""
    heading = ("the model writes", "client", "cached of possible", "cached of prompt", "missed", "blocks a request")
    rows: list[tuple[str, ...]] = [heading]
    rows += [
        (
            row["shape"],
            row["client"],
            f"{row['of_possible']:.1%}",
            f"{row['of_prompt']:.1%}",
            f"{row['possible'] - row['cached']:,} tokens",
            f"{row['blocks_missed_a_request']:.2f}",
        )
        for row in result["rows"]
    ]
    return rows


@contextlib.contextmanager
def _engine(*, mtp: bool = False) -> Iterator[Any]:
    """Starts the tests' own engine, and ends it; with `mtp` it drafts a token a step and says what it likes."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    server: Any = importlib.import_module("engine.server")  # the tests are no package of the product

    try:
        python = server.engine_python()
        launch = server.forced_launch(python)
        if mtp:
            kept = launch.flags[: launch.flags.index("--logits-processors")]
            drafts = ("--speculative-config.method", "mtp", "--speculative-config.num_speculative_tokens", "1")
            launch = dataclasses.replace(
                launch,
                model=str(server.tiny_glm(python, mtp=True)),
                flags=(*kept, *drafts),
                label=f"{launch.label} MTP",
            )
    except RuntimeError as error:
        sys.exit(f"{NAME}: {error}")
    with tempfile.TemporaryDirectory() as folder:
        try:
            forced = server.ForcedEngine(server.start(launch, Path(folder)))
            yield forced
            forced.close()
        finally:
            process.stop(run=Path(folder))


async def _measure(forced: Any, client: Client, shape: str) -> dict[str, Any]:
    extra: dict[str, Any] = {"cache_salt": secrets.token_hex(8), "chat_template_kwargs": client.template}
    if shape == DRAFTED:
        extra |= {
            "allowed_token_ids": await _letters(forced.url, _DRAWN),
            "min_tokens": _FEWEST,
            "temperature": 1.0,
        }
    engine = HttpEngine(EngineSettings(url=forced.url, extra_body=extra), environment={})
    messages: list[Message] = [_HEAD]
    log: TokenLog | None = None
    before = cached = possible = prompted = 0
    try:
        for said, reply in _script(shape):
            messages += said
            forced.say(await _letters(forced.url, reply) if shape == "split otherwise" else reply)
            sent = tuple(messages if client.thinking else (replace(m, thinking="") for m in messages))
            prompt = Prompt(
                sent,
                tuple(tool.spec for tool in tools.TOOLS),
                thinking=True,
                sampling=Sampling(0.0, None, 4000),
                log=log if client.exact else None,
            )
            answer, log, usage = await _ask(engine, prompt)
            messages.append(answer)
            prompted += usage.read
            if before:
                possible += (before - 1) // BLOCK * BLOCK
                cached += usage.cached
            before = usage.read + usage.written
    finally:
        await engine.close()
    return {
        "client": client.name,
        "shape": shape,
        "exactness": engine.exactness if client.exact else "messages",
        "cached": cached,
        "possible": possible,
        "blocks_missed_a_request": (possible - cached) / BLOCK / (3 * TASKS - 1),
        "prompt": prompted,
        "of_possible": cached / possible,
        "of_prompt": cached / prompted,
    }


async def _ask(engine: HttpEngine, prompt: Prompt) -> tuple[Message, TokenLog | None, Any]:
    thinking, text = "", ""
    calls: dict[int, list[str]] = {}
    async for delta in engine.stream(prompt):
        thinking += delta.thinking
        text += delta.text
        for piece in delta.tool_calls:
            calls.setdefault(piece.index, [piece.id, piece.name, ""])[2] += piece.arguments
        if delta.finish:
            if delta.usage is None or delta.usage.cached is None or delta.finish == "length":
                raise RuntimeError("the engine did not end its reply well, or does not tell what was cached")
            made = tuple(ToolCall(*call) for call in calls.values())
            return Message("assistant", text, thinking, made), delta.log, delta.usage
    raise RuntimeError("the reply has no end")


def _script(shape: str) -> Iterator[tuple[tuple[Message, ...], str]]:
    """What is said to the model, and what it says to that, its stop token included."""
    around: Callable[[str], str] = (lambda text: f"\n{text}\n\n") if shape == "new lines around" else str.strip
    call = "<tool_call>{}<arg_key>{}</arg_key><arg_value>{}</arg_value></tool_call><|observation|>"
    for task in range(1, TASKS + 1):
        thought = around(f"Task {task}: the file shows what is there, so I read it before I change a line. " * 3)
        asked = Message("user", f"Task {task}: make the total count quantities.")
        yield (asked,), f"{thought}</think>" + call.format("read_file", "file_path", f"src/cart_{task}.py")
        found = Message("tool", _FILE, call_id="a")
        thought = around(f"Now who calls it; a caller of task {task} may pass something else. " * 3)
        yield (
            (found,),
            f"{thought}</think>{around('I look for callers.')}" + call.format("search", "pattern", "total_1"),
        )
        found = Message("tool", f"src/shop_{task}.py:4: total_1(cart)", call_id="b")
        thought = around("One caller, which passes a cart; so nothing else has to change. " * 3)
        yield (found,), f"{thought}</think>{around(f'The total of task {task} counts quantities now.')}<|user|>"


async def _letters(url: str, text: str) -> list[int]:
    """Tokens that spell a text letter by letter, as its own encoding never would; control tokens stay whole."""
    async with aiohttp.ClientSession() as session:
        known: dict[str, list[int]] = {}
        pieces = [[piece] if _MARK.fullmatch(piece) else list(piece) for piece in _MARK.split(text)]
        for letter in {letter for piece in pieces for letter in piece} - {""}:
            body = {"model": "glm-4.7", "prompt": letter, "add_special_tokens": False}
            async with session.post(f"{url}/tokenize", json=body) as reply:
                known[letter] = (await reply.json())["tokens"]
        return [token for piece in pieces for letter in piece for token in known.get(letter, ())]
