"""Asks a local engine over its socket whether it is there, does its work, and how much of it there is.

Never asks it for anything that a person reads: that is the client's work.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Sample:
    """What an engine counted, as far as it tells whether it lives.

    Attributes:
        running: requests that are served.
        waiting: requests that are not yet.
        ended: requests that came to an end, since it was started.
        marks: figures of which some change whenever anything is computed.
    """

    running: float
    waiting: float
    ended: float
    marks: tuple[float, ...]

    @property
    def busy(self) -> bool:
        """Whether anybody waits for it."""
        return self.running + self.waiting > 0


def answers(url: str, served_name: str) -> bool:
    """Whether it does what it is for: healthy, the model listed, one token written."""
    if not healthy(url):
        return False
    code, models = _request(url, "GET", "/v1/models")
    if code != 200 or served_name not in [model.get("id") for model in models.get("data", [])]:
        return False
    return not fault(url, served_name)


def fault(url: str, served_name: str, *, timeout: float = 120) -> str:
    """Why it does not write a token when it is asked to; empty where it does."""
    said = [{"role": "user", "content": "Hello"}]
    body = {"model": served_name, "messages": said, "max_tokens": 1, "temperature": 0}
    code, reply = _request(url, "POST", "/v1/chat/completions", body, timeout=timeout)
    if code in {400, 404}:  # a model without a chat template
        plain = {"model": served_name, "prompt": "Hello", "max_tokens": 1, "temperature": 0}
        code, reply = _request(url, "POST", "/v1/completions", plain, timeout=timeout)
    if code == 200 and reply.get("choices"):
        return ""
    return f"it answers with HTTP {code}" if code else f"it does not answer within {timeout:.0f} s"


def healthy(url: str) -> bool:
    """Whether it says of itself that it is well; costs a few milliseconds."""
    return _request(url, "GET", "/health", timeout=3)[0] == 200


def sample(url: str, *, timeout: float = 5) -> Sample | None:
    """What it counts; None where it does not answer."""
    code, page = _exchange(url, "GET", "/metrics", None, timeout)
    if code != 200:
        return None
    figures: dict[str, float] = {}
    for name, value in _LINE.findall(page.decode("utf-8", "replace")):
        figures[name] = figures.get(name, 0.0) + float(value)
    return Sample(
        figures.get("num_requests_running", 0.0),
        figures.get("num_requests_waiting", 0.0),
        figures.get("request_success_total", 0.0),
        tuple(figures.get(name, 0.0) for name in _MARKS),
    )


def sleep(url: str) -> bool:
    """Has it give its GPUs' memory back; the weights wait in the host's memory."""
    return _request(url, "POST", "/sleep?level=1", timeout=300)[0] == 200


def wake(url: str) -> bool:
    """Has it take its weights back to the GPUs."""
    return _request(url, "POST", "/wake_up", timeout=300)[0] == 200


_MARKS = (
    *("generation_tokens_total", "prompt_tokens_total", "iteration_tokens_total_count"),
    *("request_success_total", "kv_cache_usage_perc", "num_requests_running"),
)
_LINE = re.compile(
    rf"^vllm:({'|'.join((*_MARKS, 'num_requests_waiting'))})(?:\{{[^}}]*\}})? ([-+.e\d]+|NaN)$", re.MULTILINE
)


def _request(url: str, method: str, path: str, body: Any = None, *, timeout: float = 10) -> tuple[int, dict[str, Any]]:
    """One request over the engine's socket: status and decoded JSON; status 0 where nobody answers."""
    code, content = _exchange(url, method, path, body, timeout)
    try:
        return code, json.loads(content) if content else {}
    except ValueError:
        return (0, {}) if code == 200 else (code, {})


def _exchange(url: str, method: str, path: str, body: Any, timeout: float) -> tuple[int, bytes]:
    connection = _UnixConnection(url.removeprefix("unix:"), timeout)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
