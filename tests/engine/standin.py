"""Stands for `vllm serve` in tests of the launcher: the same command, the same kind of log, a tiny HTTP server.

Never used where a model's words matter: those tests take the real engine.

`STANDIN` in the environment says how it behaves: `ok`, `stubborn` (its worker will not end when asked), one of the ways
below in which a start goes wrong, or one in which it goes wrong later. A file `standin` in its folder says so too, and
changes it while it runs: `held` goes on loading, `mute` refuses to write, `silent` never answers a completion, `deaf` answers nothing at all.
"""

from __future__ import annotations

import http.server
import json
import os
import signal
import socketserver
import subprocess
import sys
import time
from pathlib import Path

PREFIX = "(EngineCore pid=7) INFO 01-02 03:04:05 [core.py:133] "
SAID = {
    "oom": "(Worker pid=8) ERROR 01-02 03:04:05 [multiproc.py:1] torch.OutOfMemoryError: CUDA out of memory.",
    "module": "ModuleNotFoundError: No module named 'triton'",
    "option": "vllm: error: unrecognized arguments: --surprise",
    "weights": "RuntimeError: Cannot find any model weights with `/models/x`",
    "odd": "(APIServer pid=9) ERROR 01-02 03:04:05 [x.py:1] ValueError: the moon is wrong\nRuntimeError: Engine core failed.",
    "device": "RuntimeError: Failed to infer device type",
}


def log(text: str, end: str = "\n") -> None:
    sys.stderr.write(text + end)
    sys.stderr.flush()


STREAMING: set[int] = set()
COUNTED = {"tokens": 0, "ended": 0}
ASLEEP: list[bool] = []


def way() -> str:
    told = Path("standin")
    return told.read_text(encoding="utf-8") if told.exists() else os.environ["STANDIN"]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if way() == "deaf":
            time.sleep(600)
        if self.path == "/metrics":
            self.reply_with(
                f'vllm:num_requests_running{{engine="0"}} {len(STREAMING)}.0\n'
                f'vllm:num_requests_waiting{{engine="0"}} 0.0\n'
                f'vllm:generation_tokens_total{{engine="0"}} {COUNTED["tokens"]}\n'
                f'vllm:request_success_total{{engine="0",finished_reason="stop"}} {COUNTED["ended"]}.0\n'.encode()
            )
            return
        name = "another" if way() == "other-model" else argument("--served-model-name")
        self.reply({"data": [{"id": name, "object": "model", "owned_by": "vllm"}]} if self.path == "/v1/models" else {})

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"] or 0))
        body = json.loads(content) if content else {}
        if self.path.startswith(("/sleep", "/wake_up")):
            ASLEEP[:] = [self.path.startswith("/sleep")]
            self.reply({})
            return
        if way() in {"silent", "deaf"}:
            time.sleep(600)
        if way() == "die" and not body.get("stream"):
            log("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB")
            os._exit(1)
        if body.get("stream"):
            self.stream(body)
        else:
            COUNTED["ended"] += 1
            COUNTED["tokens"] += 1
            code = 500 if way() == "mute" or True in ASLEEP else 200
            self.reply({"choices": [{"text": "x", "message": {"content": "x"}, "finish_reason": "length"}]}, code)

    def stream(self, body: dict[str, object]) -> None:
        """As many words as `max_tokens` says, ten a second; `stuck` stops after one and keeps the line open."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        STREAMING.add(id(self))
        try:
            for number in range(int(str(body.get("max_tokens", 5)))):
                end = number + 1 == body.get("max_tokens", 5)
                choice = {"index": 0, "delta": {"content": "word "}, "finish_reason": "stop" if end else None}
                said = json.dumps({"id": "1", "model": body.get("model"), "choices": [choice]})
                self.wfile.write(f"data: {said}\n\n".encode())
                COUNTED["tokens"] += 1
                while way() == "stuck":
                    time.sleep(0.05)
                if way() == "die" and number == 2:
                    os._exit(1)
                time.sleep(0.1)
            self.wfile.write(b"data: [DONE]\n\n")
            COUNTED["ended"] += 1
        finally:
            STREAMING.discard(id(self))

    def reply(self, body: dict[str, object], code: int = 200) -> None:
        self.reply_with(json.dumps(body).encode(), code)

    def reply_with(self, content: bytes, code: int = 200) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def address_string(self) -> str:
        return "socket"


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


def argument(name: str) -> str:
    return sys.argv[sys.argv.index(name) + 1]


def main() -> None:
    how = os.environ["STANDIN"]
    log(PREFIX + "non-default args: {}")
    log(PREFIX + "Initializing a V1 LLM engine (v0.32.0)")
    if how in SAID:
        log(SAID[how])
        sys.exit(1)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)" if how == "stubborn" else ""
    named = "import ctypes; ctypes.CDLL(None).prctl(15, b'VLLM::Worker_0')"  # PR_SET_NAME, as vLLM names its own
    worker = f"import signal, time; {named}; {ignore or 'pass'}; print('up', flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", worker], stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        Path("worker.pid").write_text(str(child.pid), encoding="utf-8")
        log(PREFIX + "Starting to load model x...")
        log("\rLoading safetensors checkpoint shards:  43% Completed | 43/100", end="\r\n")
        if how in {"hang", "slow"}:
            time.sleep(600 if how == "hang" else 2)
        while way() == "held":
            time.sleep(0.05)
        log(PREFIX + "Loading weights took 1.12 seconds")
        log(PREFIX + "init engine (profile, create kv cache) took 4.21 s")
        log("INFO:     Application startup complete.")
        with Server(argument("--uds"), Handler) as server:
            server.serve_forever()


if __name__ == "__main__":
    main()
