"""Asks a local engine over its socket whether it is there and does its work.

Never asks it for anything that a person reads: that is the client's work.
"""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any


def answers(url: str, served_name: str) -> bool:
    """Whether it does what it is for: healthy, the model listed, one token written."""
    if not healthy(url):
        return False
    code, models = _request(url, "GET", "/v1/models")
    if code != 200 or served_name not in [model.get("id") for model in models.get("data", [])]:
        return False
    body = {"model": served_name, "prompt": "Hello", "max_tokens": 1, "temperature": 0}
    code, reply = _request(url, "POST", "/v1/completions", body, timeout=120)
    return code == 200 and bool(reply.get("choices"))


def healthy(url: str) -> bool:
    """Whether it says of itself that it is well; costs a few milliseconds."""
    return _request(url, "GET", "/health", timeout=3)[0] == 200


def _request(url: str, method: str, path: str, body: Any = None, *, timeout: float = 10) -> tuple[int, dict[str, Any]]:
    """One request over the engine's socket: status and decoded JSON; status 0 where nobody answers."""
    connection = _UnixConnection(url.removeprefix("unix:"), timeout)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        content = response.read()
        return response.status, json.loads(content) if content else {}
    except (OSError, http.client.HTTPException, ValueError):
        return 0, {}
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
