"""Stands for `vllm serve` in tests of the launcher: the same command, the same kind of log, a tiny HTTP server.

Never used where a model's words matter: those tests take the real engine.

`STANDIN` in the environment says how it behaves: `ok`, `stubborn` (its worker will not end when asked), or one of the
ways below in which a start goes wrong.
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


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        name = "another" if os.environ["STANDIN"] == "other-model" else argument("--served-model-name")
        self.reply({"data": [{"id": name}]} if self.path == "/v1/models" else {})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.reply({"choices": [{"text": "x"}]}, 500 if os.environ["STANDIN"] == "mute" else 200)

    def reply(self, body: dict[str, object], code: int = 200) -> None:
        content = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def address_string(self) -> str:
        return "socket"


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
    worker = f"import signal, time; {ignore or 'pass'}; print('up', flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", worker], stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        Path("worker.pid").write_text(str(child.pid), encoding="utf-8")
        log(PREFIX + "Starting to load model x...")
        log("\rLoading safetensors checkpoint shards:  43% Completed | 43/100", end="\r\n")
        if how == "hang":
            time.sleep(600)
        log(PREFIX + "Loading weights took 1.12 seconds")
        log(PREFIX + "init engine (profile, create kv cache) took 4.21 s")
        log("INFO:     Application startup complete.")
        with socketserver.ThreadingUnixStreamServer(argument("--uds"), Handler) as server:
            server.serve_forever()


if __name__ == "__main__":
    main()
