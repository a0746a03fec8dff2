"""Findings that a person has dismissed, so that a later review does not tell them again; kept for each workspace.

Never keeps what a finding says in full or any code: a digest of the lines, and of each of the message's words.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import platformdirs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from glm_lsp.terms import Finding

ALIKE: Final = 0.5
"""Share of the words that two messages have in common, of all their words, from which on they say the same."""


class Dismissed(msgspec.Struct, frozen=True):
    """One dismissed finding: the file, a digest of the lines that it was about, and of its message's words."""

    path: str
    lines: str
    words: frozenset[str]


class Dismissals:
    """What was dismissed in one workspace; in memory alone where the file cannot be written."""

    def __init__(self, file: Path) -> None:
        """Reads what is kept in `file`; a line that makes no sense is passed over."""
        self._file = file
        self._kept: list[Dismissed] = []
        with contextlib.suppress(OSError):
            for line in file.read_bytes().splitlines():
                with contextlib.suppress(msgspec.DecodeError):
                    self._kept.append(msgspec.json.decode(line, type=Dismissed))

    @classmethod
    def at(cls, root: Path, *, environment: Mapping[str, str] = os.environ) -> Dismissals:
        """Those of the workspace at `root`; GLM_LSP_STATE_DIR says where, else the person's state folder."""
        state = Path(environment.get("GLM_LSP_STATE_DIR") or platformdirs.user_state_dir("glm-lsp"))
        name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
        return cls(state / "dismissed" / f"{name}.jsonl")

    def covers(self, finding: Finding, text: str) -> bool:
        """Whether this finding was dismissed before: about the same lines, wherever they are now, in like words."""
        wanted = _dismissed(finding, text)
        return any(
            kept.path == wanted.path and kept.lines == wanted.lines and _alike(kept.words, wanted.words)
            for kept in self._kept
        )

    def add(self, finding: Finding, text: str) -> None:
        """Keeps that a finding in a file with this text was dismissed.

        Raises:
            OSError: it could not be written, and holds until the server ends.
        """
        fresh = _dismissed(finding, text)
        self._kept.append(fresh)
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(self._file, "ab", opener=lambda name, flags: os.open(name, flags, 0o600)) as lines:
            lines.write(msgspec.json.encode(fresh) + b"\n")


def _dismissed(finding: Finding, text: str) -> Dismissed:
    about = text.splitlines()[max(finding.first_line, 1) - 1 : finding.last_line]
    words = frozenset(_digest(word) for word in re.findall(r"\w+", finding.message.casefold()))
    return Dismissed(finding.path, _digest("\n".join(line.strip() for line in about)), words)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    return len(one & other) >= ALIKE * len(one | other)
