"""What git remembers: which files were changed together, how lately, and with what words.

Never writes to a repository, and never runs a program that a repository's own settings name.
"""

from __future__ import annotations

import functools
import math
import os
import re
import subprocess
import threading
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from glm_lsp.index import words
from glm_lsp.index.git import QUIET
from glm_lsp.index.postings import Postings

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

COMMITS = 2000
SECONDS = 10.0
PATIENCE = 0.5  # seconds that a question waits for git; the next one has what it said

WIDE = 30  # files of a commit that says nothing of any of them: a new licence, another format
LONGEST = 4000  # characters of a message that count
RECENT = 150.0  # commits after which a change counts a third
LIKE = 60  # commits with the most fitting messages that are asked for their files


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit that is no merge.

    Attributes:
        id: its full id.
        when: seconds since 1970, by the committer's clock.
        message: subject and body, without trailers.
        paths: what it changed, relative to the workspace, by the names that these files have today.
    """

    id: str
    when: int
    message: str
    paths: tuple[str, ...]


class History:
    """The latest commits of a workspace, read once; cheap to hold, never changed."""

    def __init__(self, head: str = "", commits: Sequence[Commit] = ()) -> None:
        self.head = head
        self.commits = tuple(commits)  # the newest first

    @classmethod
    def read(cls, root: Path, commits: int = COMMITS, *, at: str = "HEAD", seconds: float = SECONDS) -> History:
        """Asks git, by one process; empty outside a repository, before the first commit, and where git fails.

        Args:
            root: the workspace, which may be a folder inside the repository.
            commits: how many to read at most.
            at: the commit to begin with.
            seconds: how long git may take; what it said until then counts.
        """
        head = _answer(root, ("rev-parse", "--verify", "--quiet", f"{at}^{{commit}}"), seconds).strip()
        if not head:
            return cls()
        return cls(head, _commits(root, (f"--max-count={commits}", head), seconds))

    def renewed(self, root: Path, commits: int = COMMITS, *, at: str = "HEAD", seconds: float = SECONDS) -> History:
        """The history as it is now: itself where nothing was committed, else with the new commits in front."""
        head = _answer(root, ("rev-parse", "--verify", "--quiet", f"{at}^{{commit}}"), seconds).strip()
        if head == self.head:
            return self
        if not self.head or _answer(root, ("merge-base", self.head, head), seconds).strip() != self.head:
            return History.read(root, commits, at=at, seconds=seconds)  # another branch, or rewritten commits
        fresh, renames = _read(root, (f"--max-count={commits}", f"{self.head}..{head}"), seconds)
        kept = self.commits[: max(0, commits - len(fresh))]
        order = _answer(root, ("rev-list", "--no-merges", f"--max-count={commits}", head), seconds).split()
        if order != [one.id for one in (*fresh, *kept)]:
            # What a merge brings has its place by time, among the commits that are known.
            return History.read(root, commits, at=head, seconds=seconds)
        if renames:
            kept = tuple(
                Commit(one.id, one.when, one.message, tuple(renames.get(path, path) for path in one.paths))
                for one in kept
            )
        return History(head, (*fresh, *kept))

    def touching(self, path: str) -> Sequence[int]:
        """The places in `commits` of those that changed a file, the newest first."""
        return self._touching.get(path, ())

    @functools.cached_property
    def recency(self) -> Mapping[str, float]:
        """How often and how lately each file was changed, from 0 to 1."""
        weights: defaultdict[str, float] = defaultdict(float)
        for at, commit in enumerate(self.commits):
            if len(commit.paths) <= WIDE:
                for path in commit.paths:
                    weights[path] += math.exp(-at / RECENT)
        most = max(weights.values(), default=1.0)
        return {path: math.log1p(weight) / math.log1p(most) for path, weight in weights.items()}

    def together(self, paths: Collection[str]) -> dict[str, float]:
        """How often other files were changed in the same commit as one of these; small and late commits count more."""
        found: defaultdict[str, float] = defaultdict(float)
        for path in paths:
            for at in self.touching(path):
                changed = self.commits[at].paths
                if 1 < len(changed) <= WIDE:
                    weight = (0.3 + math.exp(-at / RECENT)) / math.sqrt(len(changed) - 1)
                    for other in changed:
                        found[other] += weight
        return {path: weight for path, weight in found.items() if path not in paths}

    def fitting(self, weights: Mapping[int, float]) -> dict[str, float]:
        """How well the messages of the commits that changed a file fit a question.

        Args:
            weights: the question's terms, as of `words.query`.
        """
        places, scores = self._messages.bm25(weights)
        best = np.argsort(-scores, kind="stable")[:LIKE]
        found: defaultdict[str, float] = defaultdict(float)
        for at, score in zip(places[best].tolist(), scores[best].tolist(), strict=True):
            changed = self.commits[at].paths
            if len(changed) <= WIDE:
                for path in changed:
                    found[path] += score / math.sqrt(len(changed))
        return dict(found)

    @functools.cached_property
    def _touching(self) -> Mapping[str, Sequence[int]]:
        found: defaultdict[str, list[int]] = defaultdict(list)
        for at, commit in enumerate(self.commits):
            for path in commit.paths:
                found[path].append(at)
        return found

    @functools.cached_property
    def _messages(self) -> Postings:
        postings = Postings.open(None)
        postings.add(range(len(self.commits)), [words.counts(commit.message.encode()) for commit in self.commits])
        return postings


class Past:
    """The history of a workspace, read beside whoever asks for it: git may take seconds in a large repository."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known = History()
        self._reading: threading.Thread | None = None
        self._stale = True
        self._lock = threading.Lock()

    def renew(self) -> None:
        """Has the next question look for new commits."""
        self._stale = True

    def now(self, patience: float = PATIENCE) -> History:
        """The history; what is known of it, where reading takes longer than `patience` in seconds."""
        with self._lock:
            if self._stale and (self._reading is None or not self._reading.is_alive()):
                self._stale = False
                self._reading = threading.Thread(target=self._read, name="history", daemon=True)
                self._reading.start()
            reading = self._reading
        if reading is not None:
            reading.join(patience)
        return self._known

    def _read(self) -> None:
        self._known = self._known.renewed(self._root)


def _commits(root: Path, arguments: tuple[str, ...], seconds: float) -> list[Commit]:
    return _read(root, arguments, seconds)[0]


def _read(root: Path, arguments: tuple[str, ...], seconds: float) -> tuple[list[Commit], dict[str, str]]:
    """Commits, the newest first, and by older names the ones that renamed files have now."""
    asked = ("log", "-z", "--no-merges", "--encoding=UTF-8", "--no-show-signature", "--no-ext-diff", "--relative")
    shape = ("--name-status", f"--format={_START}%H%x00%ct%x00%B%x00")
    # Without the contents, as in a clone that leaves them at the server, git cannot tell what was renamed.
    answer = _answer(root, (*asked, "-M", *shape, *arguments), seconds) or _answer(
        root, (*asked, "--no-renames", *shape, *arguments), seconds
    )
    found: list[Commit] = []
    now: dict[str, str] = {}
    for record in answer.split(_START)[1:]:
        head, _, rest = record.partition("\0")
        when, _, rest = rest.partition("\0")
        message, _, changes = rest.partition("\0")
        if len(head) < 40 or not when.isdigit():
            continue  # a message with our sign in it, or the last record of an answer that was cut short
        paths: list[str] = []
        renamed: dict[str, str] = {}
        fields = iter(changes.lstrip("\0\n").split("\0"))
        for status in fields:
            if status[:1] in {"R", "C"}:
                old, new = next(fields, ""), next(fields, "")
                if status[0] == "R":
                    renamed[old] = now.get(new, new)
            else:
                new = next(fields, "")
            if new:
                paths.append(now.get(new, new))
        now |= renamed
        found.append(Commit(head, int(when), _said(message), tuple(dict.fromkeys(paths))))
    return found, now


_START = "\x1e"
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)  # what is left of a form that nobody filled in


def _said(message: str) -> str:
    lines = _COMMENT.sub("", message)[:LONGEST].strip().split("\n")
    while len(lines) > 1 and (not lines[-1].strip() or _is_trailer(lines[-1])):
        lines.pop()
    return "\n".join(lines)


def _is_trailer(line: str) -> bool:
    key, colon, _ = line.partition(": ")
    return bool(colon) and "-" in key and key.replace("-", "").isalpha()


def _answer(root: Path, arguments: tuple[str, ...], seconds: float) -> str:
    command = ["git", "-C", str(root), *QUIET, *arguments]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1"}
    try:
        answer = subprocess.run(
            command, capture_output=True, check=True, timeout=seconds, stdin=subprocess.DEVNULL, env=environment
        ).stdout
    except subprocess.TimeoutExpired as error:
        answer = error.stdout or b""
        return os.fsdecode(answer[: answer.rfind(_START.encode())]) if _START.encode() in answer else ""
    except (OSError, subprocess.SubprocessError):
        return ""
    return os.fsdecode(answer)
