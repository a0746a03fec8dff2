"""What a person said about the model's commands, so that the same is not asked twice, kept across restarts.

Never takes words of a file or of the model for the person's, never lets a permitted beginning carry another command
along (behind a prefix there may be plain arguments only), and never keeps anything where the workspace's tools reach.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import filelock
import msgspec
import platformdirs

from glm_lsp.edits import disk
from glm_lsp.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from glm_lsp.terms import PermissionAsked

Answer = Literal["once", "no", "always", "never", "tool"]
"""This time, not this time, or from now on: for these very words, or (`tool`) for all that this tool is asked to do."""

COMMANDS = "run_command"
"""The tool whose words are commands; it is never permitted as a whole."""

VERSION = 1

LOCK_SECONDS = 2.0

_PLAIN = re.compile(r"""[\w \t./:=@,+%^~\[\]*?'"#-]*""")
"""Characters that a shell reads as part of an argument: none that ends a command or begins another."""


def matches(pattern: str, command: str) -> bool:
    """Whether `pattern` stands for `command`: the very same, or `words *` for these words with any plain arguments."""
    if pattern == command:
        return True
    prefix = pattern.removesuffix(" *")
    if prefix == pattern or not prefix.strip():
        return False
    rest = command.removeprefix(prefix)
    return rest != command and rest[:1] in {"", " "} and _PLAIN.fullmatch(rest) is not None


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that a person said for good.

    Attributes:
        tool: the tool it is about, and no other.
        detail: the very words it is about, letter by letter; "" for whatever the tool is asked to do.
        permitted: whether it may run.
        only_confined: whether it holds for confined runs alone.
    """

    tool: str
    detail: str
    permitted: bool
    only_confined: bool = False

    def covers(self, asked: PermissionAsked) -> bool:
        """Whether it answers this question."""
        if self.tool != asked.tool or (self.only_confined and not asked.confined):
            return False
        return self.detail == asked.detail or (not self.detail and self.tool != COMMANDS)


class Permissions:
    """Answers for one person; an instance is what a turn takes as its `permit`.

    An answer holds for its tool only, and one given for a confined command does not hold for an unconfined one.

    Attributes:
        notes: what the person should be told, such as that a damaged file was set aside.
    """

    def __init__(
        self,
        commands: Iterable[str] = (),
        ask: Callable[[PermissionAsked], Awaitable[Answer]] | None = None,
        *,
        file: Path | None = None,
    ) -> None:
        """Takes the commands that may run, as in the setting `tools.commands`, and who to ask about others.

        What is said is kept in `file`; without one, for as long as this instance lives.
        """
        self.notes: list[str] = []
        self._commands = tuple(commands)
        self._ask = ask
        self._file = file
        self._rules = self._load()
        self._one_at_a_time = asyncio.Lock()

    @classmethod
    def at(
        cls,
        root: Path,
        commands: Iterable[str] = (),
        ask: Callable[[PermissionAsked], Awaitable[Answer]] | None = None,
        *,
        environment: Mapping[str, str] = os.environ,
    ) -> Permissions:
        """Those of the workspace at `root`; GLM_LSP_STATE_DIR says where, else the person's state folder.

        Where that folder is inside the workspace, the model could write there, so nothing is kept.
        """
        state = Path(environment.get("GLM_LSP_STATE_DIR") or platformdirs.user_state_dir("glm-lsp")).resolve()
        name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
        if state.is_relative_to(root.resolve()):
            kept = cls(commands, ask)
            kept.notes.append(f"{state} is inside the workspace: what you permit is forgotten when you leave.")
            return kept
        return cls(commands, ask, file=state / "permissions" / f"{name}.json")

    @property
    def rules(self) -> tuple[Rule, ...]:
        """What the person said for good, the oldest first."""
        return self._rules

    async def __call__(self, asked: PermissionAsked) -> bool:
        """Whether it may run: from memory, or by asking, one question at a time; no where there is nobody to ask."""
        async with self._one_at_a_time:
            known = self.known(asked)
            if known is not None:
                return known
            answer = await self._ask(asked) if self._ask is not None else "no"
            if answer == "always":
                self.remember(Rule(asked.tool, asked.detail, permitted=True, only_confined=asked.confined))
            elif answer == "tool" and asked.tool != COMMANDS:
                self.remember(Rule(asked.tool, "", permitted=True, only_confined=asked.confined))
            elif answer == "never":
                self.remember(Rule(asked.tool, asked.detail, permitted=False))
            return answer in {"once", "always"} or (answer == "tool" and asked.tool != COMMANDS)

    def known(self, asked: PermissionAsked) -> bool | None:
        """What was said before, a refusal first; None where it has to be asked."""
        said = [rule.permitted for rule in self._rules if rule.covers(asked)]
        if not all(said):
            return False
        if said or (asked.tool == COMMANDS and any(matches(pattern, asked.detail) for pattern in self._commands)):
            return True
        return None

    def remember(self, rule: Rule) -> None:
        """Keeps what the person said; where it cannot be written, `notes` says so and it holds until the end."""
        self._change(lambda rules: (*(r for r in rules if r != rule), rule))

    def forget(self, number: int) -> Rule:
        """Takes back rule `number` of `rules`, counted from 1; raises UsageError where there is none."""
        if not 1 <= number <= len(self._rules):
            raise UsageError(f"There is no permission {number}.", hint="/permissions lists them.")
        gone = self._rules[number - 1]
        self._change(lambda rules: tuple(rule for rule in rules if rule != gone))
        return gone

    # --- the file ------------------------------------------------------------------------------------------------

    def _change(self, change: Callable[[tuple[Rule, ...]], tuple[Rule, ...]]) -> None:
        if self._file is None:
            self._rules = change(self._rules)
            return
        folder = self._file.parent
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            with filelock.FileLock(folder / "lock", timeout=LOCK_SECONDS, mode=0o600):
                rules = self._load()  # another process may have added to it
                if self._file is not None:
                    self._save(self._file, change(rules))
        except (OSError, filelock.Timeout) as error:
            self.notes.append(f"What you said cannot be kept, and holds until you leave: {error}.")
            rules = self._rules
        self._rules = change(rules)

    def _load(self) -> tuple[Rule, ...]:
        """What is in the file; a damaged one is set aside, one of a newer release is left alone."""
        if self._file is None:
            return ()
        try:
            kept = msgspec.json.decode(self._file.read_bytes(), type=_Kept)
        except FileNotFoundError:
            return ()
        except OSError as error:
            self.notes.append(
                f"What you permitted cannot be read, so you are asked again and nothing is kept: {error}."
            )
            self._file = None
            return ()
        except msgspec.DecodeError as error:
            aside = self._file.with_name(f"{self._file.stem}.damaged-{secrets.token_hex(3)}")
            try:
                self._file.rename(aside)
            except OSError:
                aside, self._file = self._file, None
            self.notes.append(f"What you permitted cannot be read, so you are asked again ({aside}: {error}).")
            return ()
        if kept.version != VERSION:
            self.notes.append("A newer release wrote what you had permitted: you are asked again, and nothing is kept.")
            self._file = None
            return ()
        return kept.rules

    @staticmethod
    def _save(file: Path, rules: tuple[Rule, ...]) -> None:
        fresh = file.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        disk.write_private(str(fresh), msgspec.json.encode(_Kept(VERSION, rules)))
        fresh.replace(file)
        disk.sync(str(file.parent))


@dataclass(frozen=True, slots=True)
class _Kept:
    version: int
    rules: tuple[Rule, ...] = ()
