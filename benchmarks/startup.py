"""How long a person waits before anything happens: `--version`, and `refactor` up to its first request.

Never counts the engine's own time: the engine here is a socket that notes when the first request reaches it.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

NAME = "startup"
DOC = "seconds from spawn to --version's answer, and to refactor's first chat request"
RUNS = 15

_MODELS = json.dumps(
    {"object": "list", "data": [{"id": "glm-4.7", "object": "model", "owned_by": "vllm", "max_model_len": 32768}]}
)


def run() -> dict[str, Any]:
    """Measures medians over `RUNS` processes, beside a bare Python start in the same run."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        subprocess.run(["git", "init", "-q", folder], check=True)
        (root / "app.py").write_text("def double(x):\n    return x * 2\n")
        environment = {
            **os.environ,
            "GLM_LSP_STATE_DIR": str(root / ".git" / "state"),
            "XDG_CACHE_HOME": str(root / ".git" / "cache"),
        }
        glm = str(Path(sys.executable).with_name("glm-lsp"))
        bare = [_timed([sys.executable, "-c", "pass"], environment) for _ in range(RUNS)]
        version = [_timed([glm, "--version"], environment) for _ in range(RUNS)]
        first = [_first_request(glm, root, environment) for _ in range(RUNS + 1)][1:]  # the first one probes
    return {
        "python_seconds": statistics.median(bare),
        "version_seconds": statistics.median(version),
        "version_ratio_to_python": statistics.median(version) / statistics.median(bare),
        "first_request_seconds": statistics.median(first),
    }


def table(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows to print."""
    return [
        ("what", "median s"),
        ("python -c pass", f"{result['python_seconds']:.3f}"),
        ("glm-lsp --version", f"{result['version_seconds']:.3f}"),
        ("glm-lsp refactor to its first request", f"{result['first_request_seconds']:.3f}"),
    ]


def _timed(command: list[str], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return time.perf_counter() - began


def _first_request(glm: str, root: Path, environment: dict[str, str]) -> float:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        reached: list[float] = []
        thread = threading.Thread(target=_serve, args=(server, reached), daemon=True)
        thread.start()
        began = time.perf_counter()
        command = [glm, "refactor", "rename double", "app.py", "--engine", url, "--output", "ndjson"]
        process = subprocess.Popen(
            command, cwd=root, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        thread.join(timeout=30)
        process.kill()
        process.wait()
    return reached[0] - began


def _serve(server: socket.socket, reached: list[float]) -> None:
    """Answers just enough HTTP for a client to get to its real request: the one that may write more than a word."""
    while True:
        connection, _ = server.accept()
        with connection, connection.makefile("rb") as lines:
            while line := lines.readline():
                path = line.split()[1]
                length = 0
                while (header := lines.readline().strip()) != b"":
                    if header.lower().startswith(b"content-length:"):
                        length = int(header.split(b":")[1])
                body = json.loads(lines.read(length)) if length else {}
                if path.endswith(b"/chat/completions") and body.get("max_tokens") != 1:
                    reached.append(time.perf_counter())
                    return
                answer, kind = _answer(path, body)
                connection.sendall(
                    f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(answer)}\r\n\r\n{answer}".encode()
                )


def _answer(path: bytes, body: dict[str, Any]) -> tuple[str, str]:
    if path.endswith(b"/models"):
        return _MODELS, "application/json"
    if path.endswith(b"/version"):
        return '{"version": "0.32.0"}', "application/json"
    choice = {
        "index": 0,
        "delta": {"reasoning": "a"},
        "message": {"role": "assistant", "reasoning": "a"},
        "finish_reason": "length",
    }
    reply = json.dumps({"id": "1", "object": "chat.completion", "model": "glm-4.7", "choices": [choice]})
    return (
        (f"data: {reply}\n\ndata: [DONE]\n\n", "text/event-stream")
        if body.get("stream")
        else (reply, "application/json")
    )
