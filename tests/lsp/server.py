"""A small server on our transport, with handlers that echo, sleep, fail, stream and ask.

Never does anything useful: it is what the tests of the transport talk to.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import msgspec
from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams

from glm_lsp import errors
from glm_lsp.server import transport
from glm_lsp.server.transport import GlmServer


class Asked(msgspec.Struct, rename="camel"):
    the_text: str
    versions: dict[str, int] = {}
    more: Any = None


class Said(msgspec.Struct, rename="camel"):
    the_text: str
    versions: dict[str, int] = {}
    more: Any = None


MESSAGES: dict[str, tuple[type[Any] | None, type[Any] | None]] = {
    "glm/echo": (Asked, Said),
    "glm/permission": (Asked, Said),
    "glm/note": (Asked, None),
}


@dataclass
class Numbers:
    """Counts the events of a stream as they are written."""

    last: int = -1

    def next(self) -> int:
        self.last += 1
        return self.last


@dataclass(frozen=True)
class Text:
    """A delta of text; or, where `kind` is another word, an event that merges with none."""

    numbers: Numbers
    text: str
    kind: str = "text"
    size: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", len(self.text.encode("utf-8", "replace")) + 100)

    def merged(self, other: Self) -> Text | None:
        return Text(self.numbers, self.text + other.text) if self.kind == other.kind == "text" else None

    def encode(self) -> bytes:
        params = {"seq": self.numbers.next(), "kind": self.kind, "text": self.text}
        return json.dumps({"jsonrpc": "2.0", "method": "glm/event", "params": params}).encode()


def make(**options: Any) -> GlmServer:
    server = GlmServer("test", "1", messages=MESSAGES, **options)
    cancelled: list[str] = []

    @server.feature(types.TEXT_DOCUMENT_HOVER)
    def hover(ls: GlmServer, params: types.HoverParams) -> types.Hover:
        document = ls.workspace.get_text_document(params.text_document.uri)
        return types.Hover(types.MarkupContent(types.MarkupKind.PlainText, f"{document.version}:{document.source}"))

    @server.feature(types.TEXT_DOCUMENT_DEFINITION)
    async def definition(params: types.DefinitionParams) -> None:
        cancelled.append("began")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(f"definition {params.position.line}")
            raise

    @server.feature(types.TEXT_DOCUMENT_REFERENCES)
    @server.thread()
    def references(params: types.ReferenceParams) -> list[types.Location]:
        time.sleep(params.position.line / 10)
        return []

    @server.feature(types.TEXT_DOCUMENT_DECLARATION)
    def declaration(params: types.DeclarationParams) -> Any:
        return _fail(params.position.line)

    @server.feature(types.TEXT_DOCUMENT_IMPLEMENTATION)
    async def implementation(params: types.ImplementationParams) -> Any:
        return _fail(params.position.line)

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE)
    async def saved(params: types.DidSaveTextDocumentParams) -> None:
        raise (
            errors.Missing("There is no such file.", hint="Save it again.")
            if "gone" in params.text_document.uri
            else (ValueError("secret words"))
        )

    @server.feature(types.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    def badly(_params: types.DocumentSymbolParams) -> Any:
        return object()

    @server.feature("glm/echo")
    async def echo(params: Asked) -> Said:
        return Said(params.the_text, params.versions, params.more)

    @server.feature("glm/untyped")
    def untyped(params: Any) -> Any:
        return params

    @server.feature("glm/note")
    def note(params: Asked) -> None:
        cancelled.append(params.the_text)

    @server.feature("glm/cancelled")
    def was_cancelled(_params: Any) -> list[str]:
        return cancelled

    @server.command("echo")
    def command_echo(_ls: GlmServer, *arguments: Any) -> Any:
        return list(arguments)

    @server.command("one")
    async def one(ls: GlmServer, asked: Asked) -> str:
        return asked.the_text

    @server.command("wait")
    async def wait(_ls: GlmServer) -> None:
        cancelled.append("began")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append("command")
            raise

    @server.command("print")
    def noisy(_ls: GlmServer) -> None:
        print("a stray print")
        subprocess.run(["echo", "a stray child"], check=True)
        sys.stdout.flush()

    @server.command("stdin")
    def hungry(_ls: GlmServer) -> str:
        return subprocess.run(["cat"], check=True, capture_output=True, text=True).stdout

    @server.command("spin")
    @server.thread()
    def spin(_ls: GlmServer, seconds: float) -> None:
        time.sleep(seconds)

    @server.command("busy")
    def busy(_ls: GlmServer, seconds: float) -> None:
        time.sleep(seconds)  # on the loop, so that messages wait

    @server.command("unstoppable")
    async def unstoppable(_ls: GlmServer) -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append("never mind")

    @server.command("stream")
    async def stream(ls: GlmServer, deltas: int, size: int, key: str) -> int:
        numbers = Numbers()
        for number in range(deltas):
            ls.protocol.outbox.stream(key, Text(numbers, f"{number:07d}".ljust(size, ".")))
            if number % 100 == 99:
                await asyncio.sleep(0)
        ls.protocol.outbox.send(Text(numbers, "", "end"), key)
        return deltas

    @server.command("flood")
    async def flood(ls: GlmServer, count: int, size: int) -> None:
        for _ in range(count):
            ls.protocol.notify("window/logMessage", {"type": 4, "message": "x" * size})
            await asyncio.sleep(0)

    @server.command("tell")
    def tell(ls: GlmServer, count: int) -> None:
        for number in range(count):
            ls.protocol.notify("glm/told", {"number": number})

    @server.command("tell from threads")
    @server.thread()
    def tell_from_thread(ls: GlmServer, name: str, count: int) -> None:
        for number in range(count):
            ls.protocol.notify("glm/told", {"name": name, "number": number})

    @server.command("progress")
    async def bars(ls: GlmServer, count: int, token: Any = None) -> int:
        for number in range(count):
            async with ls.show_progress(f"Work {number}", token=token, cancellable=True) as bar:
                await asyncio.sleep(0.02)
                bar.report("half", 50)
                await asyncio.sleep(0)
                bar.closing = "done"
        return len(ls.protocol.on_progress_cancel) + len(ls.protocol.progress.tokens)

    @server.command("pygls progress")
    async def old_bars(ls: GlmServer, count: int) -> int:
        for number in range(count):
            ls.work_done_progress.begin(f"t{number}", types.WorkDoneProgressBegin(title="x"))
            ls.work_done_progress.end(f"t{number}", types.WorkDoneProgressEnd())
        return len(ls.protocol.progress.tokens)

    @server.command("cancellable")
    async def cancellable(ls: GlmServer) -> str:
        gone = asyncio.Event()
        async with ls.show_progress("Long work", cancellable=True, on_cancel=gone.set):
            await gone.wait()
        return "the person cancelled"

    @server.command("permission")
    async def permission(ls: GlmServer, text: str) -> str:
        answer = await ls.protocol.send_request_async("glm/permission", Asked(text))
        return answer.the_text if isinstance(answer, Said) else "untyped"

    @server.command("configuration")
    async def configuration(ls: GlmServer) -> Any:
        item = types.ConfigurationItem(section="glm")
        return await ls.workspace_configuration_async(types.ConfigurationParams([item]))

    @server.command("surrogates")
    def surrogates(_ls: GlmServer) -> str:
        return "a\ud800b\ud83d\ude00c"

    return server


def _fail(how: int) -> Any:
    if how == 0:
        raise errors.Unreachable("Nothing answers at http://127.0.0.1:8000.", hint="Start the engine.")
    if how == 1:
        raise errors.Conflict("The file changed.", hint="Try again.")
    if how == 2:
        raise ValueError("secret words from /home/someone/app.py")
    if how == 3:
        raise JsonRpcInvalidParams("No such place.")
    sys.exit(7)


def main() -> None:
    flags = dict(argument.split("=", 1) for argument in sys.argv[1:])
    log = flags.pop("log", None)
    if log:
        transport.log_to_file(Path(log), level=10)
    mode = flags.pop("mode", "stdio")
    watch = float(flags.pop("watch", "3"))
    record = flags.pop("record", None)
    options: dict[str, Any] = {name: int(value) for name, value in flags.items()}
    if record:
        lines = Path(record).open("ab", buffering=0)  # noqa: SIM115 - open as long as the process
        options["record"] = lambda way, at, body: lines.write(b"%s %f %s\n" % (way.encode(), at, body))
    if mode == "tcp":
        sys.exit(transport.serve_tcp(lambda: make(**options)))
    if mode == "ws":
        sys.exit(transport.serve_websocket(lambda: make(**options), token="sesame", origins=("http://localhost:8080",)))
    sys.exit(transport.serve_stdio(make(**options), watch=watch))


if __name__ == "__main__":
    main()
