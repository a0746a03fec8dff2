"""What a person said about the model's commands, so that the same is not asked twice.

Never takes words of a file or of the model for the person's, and never lets a permitted beginning carry another
command along: behind a prefix there may be plain arguments only.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from glm_lsp.terms import PermissionAsked

Answer = Literal["once", "no", "always", "never"]
"""This time, not this time, or from now on whenever this very command is asked for."""

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


class Permissions:
    """Answers for one person; an instance is what a turn takes as its `permit`.

    An answer holds for its tool only, and one given for a confined command does not hold for an unconfined one.

    Attributes:
        allowed: patterns (see `matches`) that may run unasked.
        refused: patterns that are refused unasked; they come first.
    """

    def __init__(
        self, commands: Iterable[str] = (), ask: Callable[[PermissionAsked], Awaitable[Answer]] | None = None
    ) -> None:
        """Takes the commands that may run, as in the setting `tools.commands`, and who to ask about others."""
        self.allowed = [("run_command", pattern, False) for pattern in commands]
        self.refused: list[tuple[str, str]] = []
        self._ask = ask
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, asked: PermissionAsked) -> bool:
        """Whether it may run: from memory, or by asking, one question at a time; no where there is nobody to ask."""
        async with self._one_at_a_time:
            known = self.known(asked)
            if known is not None:
                return known
            answer = await self._ask(asked) if self._ask is not None else "no"
            if answer == "always":
                self.allow(asked.detail, tool=asked.tool, only_confined=asked.confined)
            elif answer == "never":
                self.refuse(asked.detail, tool=asked.tool)
            return answer in {"once", "always"}

    def known(self, asked: PermissionAsked) -> bool | None:
        """What was said before; None where it has to be asked."""
        if any(tool == asked.tool and matches(pattern, asked.detail) for tool, pattern in self.refused):
            return False
        if any(
            tool == asked.tool and (asked.confined or not only_confined) and matches(pattern, asked.detail)
            for tool, pattern, only_confined in self.allowed
        ):
            return True
        return None

    def allow(self, pattern: str, *, tool: str = "run_command", only_confined: bool = False) -> None:
        """Remembers that what `pattern` stands for may run."""
        self.allowed.append((tool, pattern, only_confined))

    def refuse(self, pattern: str, *, tool: str = "run_command") -> None:
        """Remembers that what `pattern` stands for may not run."""
        self.refused.append((tool, pattern))
