"""What the Neovim plug-in costs: at start-up, for each delta of a stream, and when a key is pressed meanwhile.

Never counts the model or the server: both run in processes of their own. Neovim itself runs in a terminal that is only
read, so that it draws as for a person. codecompanion.nvim can be measured on the same stream in the same run: its
folder and that of plenary.nvim, which it needs, are given as `--codecompanion` and `--plenary`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "nvim"
DOC = "milliseconds of Neovim's own time: start-up, redraw for each delta, from a key to the screen"

PACE = 200  # tokens a second
STARTS = 21
LIMITS = {"start-up": 1.0, "redraw p95": 5.0, "key p95": 10.0}
ROOT = Path(__file__).resolve().parent.parent
PLUGIN = ROOT / "editor-clients" / "nvim"
BIN = Path(sys.executable).parent
LINES = 10_000

_OURS = "vim.opt.runtimepath:append(vim.env.PLUGIN)\nvim.lsp.enable('glm_lsp')\n"
_THEIRS = """
vim.opt.runtimepath:append(vim.env.PLENARY)
vim.opt.runtimepath:append(vim.env.CODECOMPANION)
local adapter = function()
  return require("codecompanion.adapters").extend("openai_compatible", {
    env = { url = vim.env.ENGINE, api_key = "PATH", chat_url = "/v1/chat/completions" },
    schema = { model = { default = "glm-4.7", choices = { "glm-4.7" } } },
  })
end
require("codecompanion").setup({
  adapters = { http = { bench = adapter } },
  interactions = { chat = { adapter = "bench" }, inline = { adapter = "bench" } },
})
"""
_MEASURE = """
local function spent()
  local usage = vim.uv.getrusage()
  return usage.utime.sec + usage.stime.sec + (usage.utime.usec + usage.stime.usec) / 1e6
end
local took, busy, drawing = {}, {}, false
local function drawn()
  if not drawing then
    drawing = true
    vim.schedule(function()
      drawing = false
      local began, before = vim.uv.hrtime(), spent()
      vim.cmd.redraw()
      table.insert(took, (vim.uv.hrtime() - began) / 1e6)
      table.insert(busy, (spent() - before) * 1000)
    end)
  end
end
_G.watch = function(buffer)
  vim.api.nvim_buf_attach(buffer, false, { on_lines = drawn })
end
_G.drawn = drawn
local cpu, began, ended = 0, 0, false
_G.begin = function() cpu, began, took, busy = spent(), vim.uv.hrtime(), {}, {} end
_G.finish = function()
  if not ended then
    ended = true
    local told = { redraws = took, busy = busy, cpu = spent() - cpu, began = began / 1e9, ended = vim.uv.hrtime() / 1e9 }
    vim.fn.writefile({ vim.json.encode(told) }, vim.env.RESULT)
    vim.schedule(function() vim.cmd("qall!") end)
  end
end
"""
_ASK_US = """
vim.api.nvim_create_autocmd("User", { pattern = "GlmStart", once = true, callback = function() begin() end })
vim.api.nvim_create_autocmd("User", { pattern = "GlmDone", callback = function() vim.schedule(finish) end })
vim.defer_fn(function()
  vim.cmd("Glm Say a lot.")
  _G.shown = vim.api.nvim_get_current_buf()
  watch(_G.shown)
  vim.api.nvim_set_current_win(vim.fn.bufwinid("long.py"))
  vim.cmd("normal! 5000G")
  vim.cmd.startinsert()
end, 1500)
"""
_ASK_THEM = """
vim.api.nvim_create_autocmd("User", { pattern = "CodeCompanionRequestStarted", callback = function() begin() end })
vim.api.nvim_create_autocmd("User", { pattern = "CodeCompanionRequestFinished", callback = function()
  vim.schedule(finish)
end })
vim.defer_fn(function()
  vim.cmd("CodeCompanionChat Say a lot.")
  vim.defer_fn(function()
    for _, buffer in ipairs(vim.api.nvim_list_bufs()) do
      if vim.bo[buffer].filetype == "codecompanion" then _G.shown = buffer; watch(buffer) end
    end
    vim.api.nvim_set_current_win(vim.fn.bufwinid("long.py"))
    vim.cmd("normal! 5000G")
    vim.cmd.startinsert()
  end, 100)
end, 1500)
"""
_REVIEW = """
vim.api.nvim_create_autocmd("User", { pattern = "GlmStart", once = true, callback = function() begin() end })
vim.api.nvim_create_autocmd("User", { pattern = "GlmDelta", callback = function() drawn() end })
vim.api.nvim_create_autocmd("User", { pattern = "GlmDiff", callback = function()
  vim.defer_fn(function()
    finish()
  end, 300)
end })
vim.defer_fn(function()
  vim.cmd("normal! 5000Gzt")
  vim.cmd("5000,5010Glm refactor add a lot")
  vim.cmd.startinsert()
end, 1500)
"""


def arguments(given: list[str]) -> argparse.Namespace:
    """Where the peer is, and how long a stream lasts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks nvim", description=__doc__)
    parser.add_argument("--codecompanion", type=Path, metavar="FOLDER", help="a clone of codecompanion.nvim")
    parser.add_argument("--plenary", type=Path, metavar="FOLDER", help="a clone of plenary.nvim")
    parser.add_argument("--tokens", type=int, default=2000, help="of each stream")
    return parser.parse_args(given)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measures start-up, a chat and an inline review; a chat and start-up also of the peer where it is given."""
    peer = options.codecompanion and options.plenary
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, _server(options.tokens) as engine:
        bench = _Bench(Path(folder), engine, options)
        rows.append({"what": "start-up", "who": "glm-lsp", "ms": bench.start_up(_OURS, "glm_lsp|editor-clients")})
        rows.append({"who": "glm-lsp", **bench.stream("chat", _OURS + _MEASURE + _ASK_US, engine)})
        rows.append({"who": "glm-lsp", **bench.stream("review", _OURS + _MEASURE + _REVIEW, bench.edits())})
        if peer:
            names = "codecompanion|plenary"
            rows.append({"what": "start-up", "who": "codecompanion", "ms": bench.start_up(_THEIRS, names)})
            rows.append({"who": "codecompanion", **bench.stream("chat", _THEIRS + _MEASURE + _ASK_THEM, engine)})
    return {"rows": rows, "limits": LIMITS, "tokens": options.tokens, "pace": PACE}


def table(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows for a person."""
    names = ("redraw_cpu_ms", "redraw_ms", "key_ms", "idle_key_ms")
    heads = ("start", "redraw CPU p50, p95", "redraw p50, p95", "key p50, p95", "key when idle", "CPU a token")
    rows: list[tuple[str, ...]] = [("what", "who", *heads)]
    for row in result["rows"]:
        if "ms" in row:
            rows.append((row["what"], row["who"], f"{row['ms']:.2f}", "", "", "", "", ""))
            continue
        pairs = (" ".join(f"{ms:.2f}" for ms in row[name]) for name in names)
        rows.append((row["what"], row["who"], "", *pairs, f"{row['cpu_ms']:.2f}"))
    return rows


class _Bench:
    """A folder with a long file, and Neovims that open it."""

    def __init__(self, folder: Path, engine: str, options: argparse.Namespace) -> None:
        self.folder, self.options = folder, options
        (folder / "work").mkdir()
        text = "".join(f"def number_{n}():\n    return {n}\n" for n in range(LINES // 2))
        (folder / "work" / "long.py").write_text(text)
        subprocess.run(["git", "init", "-q", str(folder / "work")], check=True)
        self.environment = {
            **os.environ,
            "TERM": "xterm-256color",
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PLUGIN": str(PLUGIN),
            "PLENARY": str(options.plenary),
            "CODECOMPANION": str(options.codecompanion),
            "ENGINE": engine,
            "RESULT": str(folder / "result.json"),
            "GLM_LSP_STATE_DIR": str(folder / "state"),
            **{f"XDG_{name}_HOME": str(folder / name) for name in ("CONFIG", "DATA", "STATE", "CACHE")},
        }

    def start_up(self, init: str, names: str) -> float:
        """The median milliseconds that `--startuptime` counts for these files, beside an empty configuration."""

        def once(text: str) -> float:
            configuration, log = self.folder / "init.lua", self.folder / "log"
            configuration.write_text(text)
            log.unlink(missing_ok=True)
            command = [str(BIN / "nvim"), "--headless", "-n", "-u", str(configuration), "--startuptime", str(log)]
            subprocess.run([*command, "+qall!"], env=self.environment, check=True, capture_output=True)
            total = 0.0
            for line in log.read_text().splitlines():
                found = re.match(r"[\d.]+ +[\d.]+ +([\d.]+): (.*)", line)
                if found and re.search(f"{names}|init.lua", found[2]):
                    total += float(found[1])
            return total

        bare = "require('vim.lsp')\n"
        pairs = [(once(init), once(bare)) for _ in range(STARTS)]
        return statistics.median(one - other for one, other in pairs)

    def edits(self) -> str:
        """A script in which a function of five lines becomes one of two hundred, piece by piece."""
        old = "def number_2500():\n    return 2500\n"
        new = (
            "def number_2500():\n" + "".join(f"    value_{n} = {n} * total\n" for n in range(200)) + "    return 2500\n"
        )
        read = {"name": "read_file", "arguments": {"file_path": "long.py", "start_line": 4995, "end_line": 5015}}
        edit = {"file_path": "long.py", "old_string": old, "new_string": new}
        script = self.folder / "script.json"
        replies = [{"calls": [read]}, {"calls": [{"name": "edit_file", "arguments": edit}]}, {"text": "Done."}]
        script.write_text(json.dumps({"replies": replies, "chop": 5, "delay": 1 / PACE}))
        return f"scripted:{script}"

    def stream(self, what: str, init: str, engine: str) -> dict[str, Any]:
        """Runs Neovim in a terminal while a stream comes, and types into the long file."""
        (self.folder / "init.lua").write_text(init)
        (self.folder / "result.json").unlink(missing_ok=True)
        environment = self.environment | {"GLM_LSP_ENGINE_URL": engine}
        keys = _typed(
            [str(BIN / "nvim"), "-n", "-u", str(self.folder / "init.lua"), "long.py"], environment, self.folder
        )
        told = json.loads((self.folder / "result.json").read_text())
        during = [took for at, took in keys if told["began"] <= at <= told["ended"]]
        before = [took for at, took in keys if at < told["began"]]
        return {
            "what": what,
            "redraws": len(told["redraws"]),
            "redraw_ms": _shares(told["redraws"]),
            "redraw_cpu_ms": _shares(told["busy"]),
            "keys": len(during),
            "key_ms": _shares(during),
            "idle_key_ms": _shares(before),
            "cpu_ms": round(told["cpu"] * 1000 / self.options.tokens, 3),
        }


def _shares(values: list[float]) -> list[float]:
    """What half of them and what 95 of 100 are below."""
    ordered = sorted(values) or [float("nan")]
    return [round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3) for share in (0.5, 0.95)]


def _typed(command: list[str], environment: dict[str, str], folder: Path) -> list[tuple[float, float]]:
    """Runs a program in a terminal until it ends, and presses `Q` again and again.

    Returns:
        For each key when it was pressed, by the clock that Neovim has too, and the milliseconds until it was seen.
    """
    primary, secondary = pty.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    process = subprocess.Popen(
        command,
        cwd=folder / "work",
        env=environment,
        stdin=secondary,
        stdout=secondary,
        stderr=secondary,
        start_new_session=True,
    )
    os.close(secondary)
    took: list[tuple[float, float]] = []
    began = time.monotonic()
    pressed, next_press = 0.0, began + 2.0
    try:
        while process.poll() is None and time.monotonic() - began < 180:
            now = time.monotonic()
            if now >= next_press:
                os.write(primary, b"Q")
                pressed, next_press = time.monotonic(), now + 0.1
            ready, _, _ = select.select([primary], [], [], 0.01)
            if ready:
                with contextlib.suppress(OSError):
                    seen = os.read(primary, 65536)
                    if pressed and b"Q" in seen:
                        took.append((pressed, (time.monotonic() - pressed) * 1000))
                        pressed = 0.0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
        os.close(primary)
    return took


# --- the engine --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _server(tokens: int) -> Iterator[str]:
    """An OpenAI-compatible server that sends so many tokens, paced, to each request that does not ask for one."""
    command = [sys.executable, __file__, str(tokens)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def _word(number: int) -> str:
    """One token of an answer with paragraphs, lists and blocks of code."""
    line, place = divmod(number, 12)
    start = (
        {0: "\n\n- ", 1: "\n\n", 2: "\n\n```python\n", 3: "\n"}[line % 5 if line % 5 < 4 else 3] if place == 0 else " "
    )
    end = "\n```" if line % 5 == 2 and place == 11 else ""
    return f"{start}word{number}{end}"


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tokens: int) -> None:
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"(?i)content-length: (\d+)", head)
            body = await reader.readexactly(int(length[1])) if length else b""
            if "/chat/completions" not in head.partition("\r\n")[0]:
                card = {"id": "glm-4.7", "owned_by": "vllm", "max_model_len": 202_752}
                answer = json.dumps({"data": [card], "version": "0.32.0"}).encode()
                kind = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                writer.write(kind % len(answer) + answer)
                continue
            asked = json.loads(body)
            count = 1 if 1 in (asked.get("max_completion_tokens"), asked.get("max_tokens")) else tokens
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            start = time.perf_counter()
            for number in range(count):
                await asyncio.sleep(max(0.0, start + number / PACE - time.perf_counter()))
                writer.write(_event({"role": "assistant", "content": _word(number)}))
            writer.write(_event({}, "stop") + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
            await writer.drain()
    writer.close()


def _event(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "glm-4.7",
        "choices": [choice],
    }
    return _chunk(b"data: " + json.dumps(body).encode() + b"\n\n")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def _serve(tokens: int) -> None:
    listening = await asyncio.start_server(lambda r, w: _answer(r, w, tokens), "127.0.0.1", 0)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(int(sys.argv[1])))
