"""More than a hundred thousand malformed and hostile messages, from fixed seeds, to a real process.

After each batch the server answers, every request has exactly one response, and memory does not grow.
"""

from __future__ import annotations

import copy
import json
import random
import threading
from collections import Counter
from typing import Any

import psutil
import pytest
from lsp.wire import ENOUGH, Client, framed, notification, request

BATCHES = 42
PER_BATCH = 2500

URIS = ("file:///a.py", "", "file:///%zz", "\u0000", "x" * 3000, "untitled:1", "file:///\ud800", "../..")
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**31, 2**64, -(2**70), 1.5, 1e308, "", "x", "\ud800", "\U0001f600" * 10, [], [[]], {},
    {"": None}, {"jsonrpc": "2.0", "id": 1, "method": "shutdown"}, [None] * 50, {"__class__": "x"}, "a" * 5000,
)  # fmt: skip


def position(dice: random.Random) -> dict[str, Any]:
    return {"line": dice.choice((0, 1, 5, 2**31 - 1)), "character": dice.choice((0, 1, 7, 2**31 - 1))}


def seed_message(dice: random.Random) -> tuple[str, dict[str, Any]]:
    """A method and params that are right, or nearly."""
    uri = {"uri": dice.choice(URIS)}
    spot = {"textDocument": uri, "position": position(dice)}
    change = {"range": {"start": position(dice), "end": position(dice)}, "text": dice.choice(("", "é", "\n", "x" * 50))}
    cell = {"kind": 2, "document": dice.choice(URIS)}
    return dice.choice(
        (
            ("textDocument/hover", spot),
            ("textDocument/declaration", {**spot, "position": {"line": dice.randrange(5), "character": 0}}),
            ("textDocument/implementation", {**spot, "position": {"line": dice.randrange(5), "character": 0}}),
            ("textDocument/definition", spot),
            ("textDocument/documentSymbol", {"textDocument": uri}),
            ("textDocument/didOpen", {"textDocument": {**uri, "languageId": "x", "version": 1, "text": "a\nb\n"}}),
            ("textDocument/didChange", {"textDocument": {**uri, "version": 2}, "contentChanges": [change]}),
            ("textDocument/didClose", {"textDocument": uri}),
            ("textDocument/didSave", {"textDocument": uri}),
            ("workspace/executeCommand", {"command": "echo", "arguments": [dice.choice(ODD)]}),
            ("workspace/executeCommand", {"command": "one", "arguments": [{"theText": "x"}]}),
            ("workspace/executeCommand", {"command": dice.choice(("none", "wait", "surrogates")), "arguments": []}),
            ("workspace/didChangeWorkspaceFolders", {"event": {"added": [{**uri, "name": "x"}], "removed": []}}),
            ("notebookDocument/didOpen", {"notebookDocument": {**uri, "cells": [cell]}, "cellTextDocuments": []}),
            ("window/workDoneProgress/cancel", {"token": dice.choice(("x", 1))}),
            ("initialize", {"processId": None, "capabilities": {}}),
            ("initialized", {}),
            ("glm/echo", {"theText": "x", "versions": {"a": 1}}),
            ("glm/note", {"theText": "x"}),
            ("glm/untyped", {"class": 1}),
            ("glm/nothing", {}),
            ("$/cancelRequest", {"id": dice.randrange(1000)}),
            ("$/setTrace", {"value": "off"}),
            ("$/unknown", {}),
        )
    )


def mutated(value: Any, dice: random.Random) -> Any:
    """The same data with one thing in it dropped, doubled, renamed or replaced."""
    value = copy.deepcopy(value)
    place = value
    while isinstance(place, (dict, list)) and place:
        name = dice.choice(list(place)) if isinstance(place, dict) else dice.randrange(len(place))
        if not isinstance(place[name], (dict, list)) or not place[name] or dice.random() < 0.4:
            if isinstance(place, dict) and dice.random() < 0.3:
                held = place.pop(name)
                if dice.random() < 0.5:
                    place[str(name).upper()] = held
            else:
                place[name] = dice.choice(ODD)
            return value
        place = place[name]
    return dice.choice(ODD)


def damaged(data: bytes, dice: random.Random) -> bytes:
    """A frame whose body or length is no longer right; never one that swallows what follows for good."""
    how = dice.randrange(6)
    header, _, body = data.partition(b"\r\n\r\n")
    if how == 0 and body:
        place = dice.randrange(len(body))
        body = body[:place] + bytes([dice.randrange(256)]) + body[place + 1 :]
    elif how == 1:
        header = header.swapcase()
    elif how == 2:
        body = body[: dice.randrange(len(body) + 1)]
        header = b"Content-Length: %d" % len(body)
    elif how == 3:
        header = dice.choice((b"Content-Length: x", b"Content-Length: -1", b"Length: 5", b"", b"Content-Length: 1, 2"))
    elif how == 4:
        return bytes(dice.randrange(256) for _ in range(dice.randrange(1, 200))) + b"\r\n\r\n"
    else:
        header = b"Content-Length: %d" % max(0, len(body) + dice.choice((-3, -1, 1, 3)))
    return header + b"\r\n\r\n" + body


class Exchange:
    """Counts what is asked and what is answered."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.unsure: set[str] = set()

    def message(self, number: int, dice: random.Random) -> bytes:
        """One hostile message, and a note of what it must be answered with."""
        method, params = seed_message(dice)
        whole = request(number, method, params) if dice.random() < 0.7 else notification(method, params)
        for _ in range(dice.choice((0, 1, 1, 2, 4))):
            whole["params"] = mutated(whole.get("params"), dice)
        kind = dice.random()
        if kind < 0.12:
            whole = mutated(whole, dice)
        if isinstance(whole, dict) and str(whole.get("method")) in {"shutdown", "exit"}:
            whole["method"] = "glm/untyped"
        data = framed(whole)
        if kind > 0.85:
            if isinstance(whole, dict) and "id" in whole:
                self.unsure.add(name_of(whole["id"]))
            return damaged(data, dice)
        number_given = whole.get("id") if isinstance(whole, dict) else None
        if isinstance(number_given, (str, int)) and not isinstance(number_given, bool) and "result" not in whole:
            self.asked[name_of(number_given)] += 1
        return data


def name_of(number: Any) -> str:
    return json.dumps(number)


def wait_for(client: Client, number: str) -> list[dict[str, Any]]:
    """Everything up to the answer to that request."""
    seen = []
    while not seen or seen[-1].get("id") != number:
        seen.append(client.next())
    return seen


@pytest.mark.timeout(240)
def test_a_hundred_thousand_hostile_messages() -> None:
    dice = random.Random(4711)
    total = 0
    with Client() as client:
        client.initialize({"general": {"positionEncodings": ["utf-8"]}})
        process = psutil.Process(client.process.pid)
        memory = []
        for batch in range(BATCHES):
            exchange = Exchange()
            sent = [exchange.message(batch * PER_BATCH + number, dice) for number in range(PER_BATCH)]
            # Whatever length the last ones promised, this much filler ends it; the request after it is seen again.
            sent += [b" " * 8 + b"\r\n\r\n", framed(notification("$/fence")), framed(notification("$/fence"))]
            waits = [
                framed(notification("$/cancelRequest", {"id": n}))
                for n in range(batch * PER_BATCH, (batch + 1) * PER_BATCH)
            ]
            closing = framed(request(f"end of {batch}", "glm/untyped", [batch]))
            odd = [framed(notification("$/cancelRequest", {"id": n})) for n in ODD if isinstance(n, (str, int))]
            writing = threading.Thread(target=client.write_raw, args=(b"".join([*sent, *waits, *odd, closing]),))
            writing.start()
            answers = wait_for(client, f"end of {batch}")
            writing.join(ENOUGH)
            total += PER_BATCH
            assert answers[-1]["result"] == [batch]
            for again in ("one", "two"):  # what was cancelled takes a turn of the loop to say so
                client.write(request(f"{again} after {batch}", "glm/echo", {"theText": ""}))
                answers += wait_for(client, f"{again} after {batch}")
            found = Counter(
                name_of(message["id"]) for message in answers if "method" not in message and message["id"] is not None
            )
            for own in (f"end of {batch}", f"one after {batch}", f"two after {batch}"):
                assert found.pop(name_of(own)) == 1
            for number, times in exchange.asked.items():
                if number not in exchange.unsure:
                    assert found[number] == times, (batch, number)
            for number in found.keys() - exchange.asked.keys():
                assert number in exchange.unsure or found[number] == 1, (batch, number)
            memory.append(process.memory_info().rss)
            client.bodies.clear()
        assert total >= 100_000
        # The first batches fill caches; from there on there is nothing left to grow.
        settled, last = max(memory[5:12]), max(memory[-5:])
        assert last < settled + 16 * 1024 * 1024, [round(size / 1e6) for size in memory]
        assert client.leave() == 0


@pytest.mark.parametrize("seed", range(3))
def test_noise_never_kills_the_reader(seed: int) -> None:
    dice = random.Random(seed)
    with Client() as client:
        client.initialize()
        for _ in range(20):
            client.write_raw(dice.randbytes(dice.choice((1, 100, 9000, 70_000))) + b"\r\n\r\n")
            assert client.ask("glm/untyped", [1])["result"] == [1]
        assert client.leave() == 0
