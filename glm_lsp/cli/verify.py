"""Runs the person's own verification command and keeps the useful part of its output.

Never confines the command: it is the person's, typed by them, and runs as they would run it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

OUTPUT_LIMIT = 8_000
"""Characters of output that go back to the model: the first lines name the failure, the last ones sum it up."""


@dataclass(frozen=True, slots=True)
class Verification:
    """How a command ended; `output` is both streams, shortened in the middle."""

    command: str
    ok: bool
    seconds: float
    output: str


async def verify(command: str, root: Path, *, seconds: float) -> Verification:
    """Runs `command` through the shell in `root`; past `seconds`, or when cancelled, its whole process group is killed."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_shell(
        command,
        cwd=root,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    kept = bytearray()
    try:
        async with asyncio.timeout(seconds):
            await _keep_ends(process, kept)
            code = await process.wait()
        output = _shortened(kept)
    except TimeoutError:
        code, output = -1, f"{_shortened(kept)}\n[stopped after {seconds:.0f} s]"
    finally:
        # The group may outlive its leader (a test server left running): it must not outlive the verification.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            await asyncio.shield(process.wait())
    return Verification(command, code == 0, time.monotonic() - began, output)


async def _keep_ends(process: asyncio.subprocess.Process, kept: bytearray) -> None:
    assert process.stdout is not None  # noqa: S101 - for the type checker: stdout is a pipe
    while chunk := await process.stdout.read(65536):
        kept += chunk
        if len(kept) > 64 * OUTPUT_LIMIT:
            del kept[4 * OUTPUT_LIMIT : -4 * OUTPUT_LIMIT]


def _shortened(data: bytes | bytearray) -> str:
    text = bytes(data).decode(errors="replace").strip()
    if len(text) <= OUTPUT_LIMIT:
        return text
    half = OUTPUT_LIMIT // 2
    return f"{text[:half]}\n[… {len(text) - OUTPUT_LIMIT:,} characters left out …]\n{text[-half:]}"
