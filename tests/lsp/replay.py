"""Plays the client's part of a recorded session to a fresh server: `python -m lsp.replay FILE [COMMAND …]` in `tests/`.

Never makes anything up: what the client says, the ids and the order are those of the record, and so are its answers to
what the server asks.

A record is what `glm-lsp serve --record FILE` writes: a JSON object a line with `way` (`in` is to the server), `at`
(seconds) and `message` (a text of JSON).
Names that a server makes up, such as ids of turns, differ from run to run: those of the fresh server take the place of
the recorded ones in what the client says later.
A message waits until all has arrived that the client had read before it sent it: responses, and requests that it
answered. It does not wait for a time.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsp.wire import ENOUGH, framed, frames_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GLM = str(Path(sys.executable).with_name("glm-lsp"))
Message = dict[str, Any]


def load(path: Path) -> list[tuple[str, Message]]:
    """Which way each message of a record went, and what it was."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [(line["way"], json.loads(line["message"])) for line in lines]


@dataclass
class Replay:
    """What became of a record.

    Attributes:
        record: which way each message went, and what it was.
        heard: what the fresh server said, in order.
        code: its exit code.
    """

    record: Sequence[tuple[str, Message]]
    heard: list[Message] = field(default_factory=list)
    code: int | None = None
    _names: dict[str, str] = field(default_factory=dict)
    _asked: Counter[str] = field(default_factory=Counter)
    _answered: set[str] = field(default_factory=set)

    def run(self, command: Sequence[str] = (GLM, "--stdio"), *, env: Mapping[str, str] | None = None) -> Replay:
        """Plays all of it.

        Raises:
            AssertionError: what the record waits for does not come.
        """
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, bufsize=0)
        inbox: queue.Queue[Message | None] = queue.Queue()
        assert process.stdin
        assert process.stdout
        out = process.stdout.fileno()

        def read() -> None:
            for body in frames_of(lambda most: os.read(out, most)):
                inbox.put(json.loads(body))
            inbox.put(None)

        reading = threading.Thread(target=read, daemon=True)
        reading.start()
        try:
            self._play(process, inbox)
            process.stdin.close()
            while (message := inbox.get(timeout=ENOUGH)) is not None:
                self._take(message, None)
            self.code = process.wait(ENOUGH)
        finally:
            process.kill()
            process.wait()
            reading.join(ENOUGH)
            process.stdin.close()
            process.stdout.close()
        return self

    def _play(self, process: subprocess.Popen[bytes], inbox: queue.Queue[Message | None]) -> None:
        assert process.stdin
        due: set[str] = set()
        wanted: Counter[str] = Counter()
        methods: dict[str, str] = {}
        for way, message in self.record:
            number = json.dumps(message.get("id"))
            if way == "out":
                if "method" not in message:
                    due.add(number)
                elif "id" in message:
                    methods[number] = message["method"]
                continue
            if "method" not in message:
                wanted[methods.get(number, "")] += 1  # an answer of the client's: what it answers has to come first
                continue
            while not due <= self._answered or wanted - self._asked:
                missing = [*sorted(due - self._answered), *(wanted - self._asked)]
                try:
                    heard = inbox.get(timeout=ENOUGH)
                except queue.Empty:
                    raise AssertionError(f"before {message['method']}, these did not come: {missing}") from None
                assert heard is not None, f"the server ended before {message['method']}; missing: {missing}"
                self._take(heard, process.stdin)
            process.stdin.write(framed(self._now(self._with_our_pid(message))))

    def _take(self, heard: Message, stdin: Any) -> None:
        """Takes in what the fresh server says, and answers what it asks as the record does."""
        self.heard.append(heard)
        method = heard.get("method")
        if method is None:
            number = json.dumps(heard.get("id"))
            self._answered.add(number)
            self._learn(self._recorded_answers.get(number, {}).get("result"), heard.get("result"))
        elif "id" in heard:
            known = self._requests[method]
            turn = self._asked[method]
            self._asked[method] += 1
            then, answer = known[turn] if turn < len(known) else ({}, None)
            self._learn(then.get("params"), heard.get("params"))
            if stdin is None:
                return
            said = answer or {"error": {"code": -32601, "message": f"the record has no further {method}"}}
            kept = {key: self._now(said[key]) for key in ("result", "error") if key in said}
            stdin.write(framed({"jsonrpc": "2.0", "id": heard["id"], **kept}))

    def differences(self) -> list[str]:
        """Requests of the client's that were answered otherwise than in the record: not at all, or not as well."""
        now = {json.dumps(m.get("id")): m for m in self.heard if "method" not in m}
        found = []
        for number, then in self._recorded_answers.items():
            method = self._methods.get(number, "?")
            if number not in now:
                found.append(f"{method} ({number}) is not answered")
            elif ("error" in then) != ("error" in now[number]):
                found.append(f"{method} ({number}): {then} then, {now[number]} now")
        return found

    @property
    def _methods(self) -> dict[str, str]:
        return {
            json.dumps(m["id"]): m["method"] for way, m in self.record if way == "in" and "method" in m and "id" in m
        }

    @property
    def _recorded_answers(self) -> dict[str, Message]:
        return {json.dumps(m.get("id")): m for way, m in self.record if way == "out" and "method" not in m}

    @property
    def _requests(self) -> dict[str, list[tuple[Message, Message | None]]]:
        """What the server asked in the record, by method and in order, with what the client answered."""
        answers = {json.dumps(m.get("id")): m for way, m in self.record if way == "in" and "method" not in m}
        found: dict[str, list[tuple[Message, Message | None]]] = defaultdict(list)
        for way, message in self.record:
            if way == "out" and "method" in message and "id" in message:
                found[message["method"]].append((message, answers.get(json.dumps(message["id"]))))
        return found

    def _learn(self, then: Any, now: Any) -> None:
        """Notes which texts stand in the same places with another spelling."""
        if isinstance(then, str) and isinstance(now, str):
            if then != now:
                self._names[then] = now
        elif isinstance(then, dict) and isinstance(now, dict):
            for key in then.keys() & now.keys():
                self._learn(then[key], now[key])
        elif isinstance(then, list) and isinstance(now, list):
            for one, other in zip(then, now, strict=False):
                self._learn(one, other)

    def _now(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._names.get(value, value)
        if isinstance(value, dict):
            return {key: self._now(one) for key, one in value.items()}
        return [self._now(one) for one in value] if isinstance(value, list) else value

    @staticmethod
    def _with_our_pid(message: Message) -> Message:
        """The client of the record is dead, and a server leaves with its client."""
        params = message.get("params")
        if message["method"] != "initialize" or not params or not params.get("processId"):
            return message
        return {**message, "params": {**params, "processId": os.getpid()}}


def main() -> int:
    """Plays a record to a command, and says what is otherwise than it was."""
    path, *command = sys.argv[1:]
    played = Replay(load(Path(path))).run(command or (GLM, "--stdio"))
    for difference in played.differences():
        print(difference)
    return 1 if played.differences() or played.code else 0


if __name__ == "__main__":
    sys.exit(main())
