"""A repository's past as questions: each commit's message asks, and the files it changed are the answer.

Never checks anything out: files are read from git's own store, and the index of each moment follows from the one before.
"""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from glm_lsp.index import words
from glm_lsp.index.history import History
from glm_lsp.index.kinds import Kind, by_name
from glm_lsp.index.postings import Postings
from glm_lsp.languages.facts import Facts, facts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from glm_lsp.languages.facts import Definition

MOST_CHANGED = 5
LARGEST = 400_000  # bytes that are parsed, as the index has it
LANGUAGES = "py pyi js mjs cjs jsx ts mts cts tsx go rs java kt scala swift c h cc cpp hpp cs rb php lua"
SUFFIXES = frozenset(f".{suffix}" for suffix in LANGUAGES.split(" "))
_TEST = re.compile(
    r"(^|/)(tests?|__tests__|specs?|e2e|testdata)/|^testing/|(^|/)(test_[^/]*|conftest)\.py$|_test\.\w+$|[.-](test|spec)\.\w+$"
)


@dataclass(frozen=True, slots=True)
class Question:
    """A commit.

    Attributes:
        commit: its id.
        parent: the commit before it, which is what the index holds when it is asked.
        text: the message without trailers.
        changed: the files it changed that are asked for.
    """

    commit: str
    parent: str
    text: str
    changed: tuple[str, ...]


def is_source(path: str) -> bool:
    """Whether a file may be an answer: code that is no test, not generated, in a language that is parsed."""
    return Path(path).suffix.lower() in SUFFIXES and by_name(path) is Kind.SOURCE and not _TEST.search(path)


def questions(repository: Path, number: int) -> list[Question]:
    """The newest commits that changed one to five existing source files, the oldest of them first."""
    found: list[Question] = []
    said = {commit.id: commit.message for commit in History.read(repository, 20 * number, seconds=60).commits}
    log = _git(
        repository, "log", "-z", "--no-merges", "--no-renames", "--name-status", f"-{20 * number}", "--format=%x1e%H %P"
    )
    for record in log.split("\x1e")[1:]:
        ids, _, changes = record.partition("\0")
        commit, *parents = ids.split()
        fields = [one.strip("\n") for one in changes.split("\0")]
        changed = [
            path for status, path in zip(fields[::2], fields[1::2], strict=False) if status == "M" and is_source(path)
        ]
        if parents and 0 < len(changed) <= MOST_CHANGED and said.get(commit):
            found.append(Question(commit, parents[0], said[commit], tuple(changed)))
        if len(found) == number:
            break
    return found[::-1]


@dataclass(eq=False)
class Past:
    """A repository as an index would hold it at one commit; a `Corpus`."""

    repository: Path
    parsed: dict[str, Facts | None] = field(default_factory=dict)  # by blob: what was parsed stays parsed
    version: int = 0
    paths: Sequence[str] = ()
    postings: Postings = field(default_factory=lambda: Postings.open(None))
    history: History = field(default_factory=History)
    number: dict[str, int] = field(default_factory=dict)  # of a blob
    now: dict[str, str] = field(default_factory=dict)  # path: blob
    definers: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def __post_init__(self) -> None:
        self._texts: dict[str, bytes] = {}

    def move(self, commit: str) -> None:
        """Brings everything to another commit, by what differs."""
        listing = _git(self.repository, "ls-tree", "-r", "-z", "--full-tree", commit)
        entries = (entry.partition("\t") for entry in listing.split("\0") if entry)
        then = {path: head.split()[2] for head, _, path in entries if head.startswith("100") and is_source(path)}
        gone = [path for path, blob in self.now.items() if then.get(path) != blob]
        fresh = [path for path, blob in then.items() if self.now.get(path) != blob]
        for path in gone:
            for definition in self.definitions_of(path):
                self.definers[definition.name].discard(path)
        unseen = [blob for blob in dict.fromkeys(then[path] for path in fresh) if blob not in self.number]
        self._read([then[path] for path in fresh if then[path] not in self._texts])
        self.now = then
        for blob in unseen:
            self.number[blob] = len(self.number) + 1
        self.postings.add([self.number[blob] for blob in unseen], [words.counts(self._texts[blob]) for blob in unseen])
        for path in fresh:
            for definition in self.definitions_of(path):
                self.definers[definition.name].add(path)
        self.paths = sorted(then)
        self.history = self.history.renewed(self.repository, at=commit)
        self.history.fitting({1: 1.0})  # takes the messages apart now: not the time of the next question
        self.version += 1

    def content_of(self, path: str) -> int:
        """As a corpus has it."""
        return self.number.get(self.now.get(path, ""), 0)

    def text(self, path: str) -> str | None:
        """As a corpus has it."""
        blob = self.now.get(path)
        return None if blob is None else self._texts[blob].decode(errors="replace")

    def defined(self, name: str) -> Sequence[str]:
        """As a corpus has it."""
        return sorted(self.definers.get(name, ()))

    def definitions_of(self, path: str) -> Sequence[Definition]:
        """As a corpus has it."""
        known = self.facts_of(path)
        return () if known is None else known.definitions

    def uses_of(self, path: str) -> Mapping[str, Sequence[int]]:
        """As a corpus has it."""
        known = self.facts_of(path)
        return {} if known is None else known.uses

    def facts_of(self, path: str) -> Facts | None:
        """What was parsed of the file."""
        blob = self.now.get(path)
        if blob is None:
            return None
        if blob not in self.parsed:
            data = self._texts[blob]
            self.parsed[blob] = facts(path, data.decode(errors="replace")) if len(data) <= LARGEST else None
        return self.parsed[blob]

    def _read(self, blobs: Sequence[str]) -> None:
        if not blobs:
            return
        answer = subprocess.run(
            ["git", "-C", str(self.repository), "cat-file", "--batch"],
            input="\n".join(blobs).encode() + b"\n",
            capture_output=True,
            check=True,
        ).stdout
        self._texts |= dict(_contents(answer))


def _contents(answer: bytes) -> Iterator[tuple[str, bytes]]:
    at = 0
    while at < len(answer):
        end = answer.index(b"\n", at)
        head = answer[at:end].decode().split()
        if head[-1] == "missing":  # of a clone that left it at the server
            yield head[0], b""
            at = end + 1
        else:
            size = int(head[2])
            yield head[0], answer[end + 1 : end + 1 + size]
            at = end + 2 + size


def _git(repository: Path, *arguments: str) -> str:
    command = ["git", "-C", str(repository), "-c", "core.quotePath=false", *arguments]
    return subprocess.run(command, capture_output=True, check=True).stdout.decode(errors="surrogateescape")
