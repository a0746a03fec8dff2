"""What a person types in a chat: lines with history and completion, and answers to questions.

Never takes what was typed before a question was on the screen for an answer to it.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import termios
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import Completer, Completion
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, has_focus
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input.typeahead import clear_typeahead
from prompt_toolkit.key_binding import KeyBindings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document
    from prompt_toolkit.key_binding.key_processor import KeyPressEvent

SHOWN = 40
"""Completions on offer at a time."""

HISTORY_BYTES = 1_000_000
"""How large the file of typed lines may become; its older half goes then."""


class Keyboard:
    """A person's keyboard.

    Args:
        history: the file that keeps the lines typed; made readable by its owner alone.
        completer: what may follow.
    """

    def __init__(self, history: Path, completer: Completer) -> None:
        self._lines: PromptSession[str] = PromptSession(
            history=_history(history),
            completer=completer,
            complete_while_typing=Condition(_is_completed),
            complete_in_thread=True,
            key_bindings=_keys(),
            multiline=True,
            prompt_continuation="· ",
            reserve_space_for_menu=6,
        )
        self._answers: PromptSession[str] = PromptSession()

    async def line(self) -> str:
        """The next thing said; Enter ends it, Alt-Enter or a backslash before Enter begins a new line in it.

        Raises KeyboardInterrupt for Ctrl-C and EOFError for Ctrl-D or the end of the input.
        """
        return (await self._lines.prompt_async("› ")).strip()

    async def answer(self, question: str) -> str:
        """One line in the person's own words, which no history keeps; raises as `line` does."""
        self._forget_what_was_typed()
        return (await self._answers.prompt_async(question)).strip()

    async def choose(self, question: str, choices: Mapping[str, str]) -> str:
        """One of the choices, which are words by their letter; asks until one is typed. Raises as `line` does."""
        while True:
            typed = (await self.answer(question)).lower()
            if typed in choices.values():
                return typed
            if typed in choices:
                return choices[typed]

    def _forget_what_was_typed(self) -> None:
        clear_typeahead(self._answers.app.input)
        with contextlib.suppress(termios.error, OSError, ValueError):  # not a terminal
            termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


class Completions(Completer):
    """Completes `/commands`, their arguments, and the paths behind an `@`.

    Args:
        commands: what each command is for, by its name.
        arguments: what may follow a command, asked anew each time.
        paths: the workspace's files.
    """

    def __init__(
        self,
        commands: Mapping[str, str],
        arguments: Callable[[str], Iterable[str]],
        paths: Callable[[], Sequence[str]],
    ) -> None:
        self._commands = commands
        self._arguments = arguments
        self._paths = paths
        self._folded: tuple[Sequence[str], list[str]] = ((), [])

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """Yields what may stand where the cursor is."""
        del complete_event
        before = document.text_before_cursor
        if mention := _MENTION.search(before):
            for path in self.fitting(mention[1]):
                shown = f'"{path}"' if " " in path else path
                yield Completion(shown, -len(mention[1]), display=path)
        elif before.startswith("/"):
            name, space, rest = before[1:].partition(" ")
            if not space:
                for command, about in self._commands.items():
                    if command.startswith(name):
                        yield Completion(command, -len(name), display=f"/{command}", display_meta=about)
            elif name in self._commands:
                for word in self._arguments(name):
                    if word.startswith(rest):
                        yield Completion(word, -len(rest))

    def fitting(self, typed: str) -> list[str]:
        """The files that may be meant, the likeliest first: a name that begins so, one that holds it, its letters."""
        paths = self._paths()
        if paths is not self._folded[0]:
            self._folded = (paths, [path.lower() for path in paths])
        folded, word = self._folded[1], typed.lower()
        if not word:
            return list(paths[:SHOWN])
        found = [i for i, path in enumerate(folded) if word in path]
        if not found:
            letters = re.compile(".*?".join(map(re.escape, word)))
            found = [i for i, path in enumerate(folded) if letters.search(path)]

        def rank(index: int) -> tuple[int, int, str]:
            path = folded[index]
            name = path.rpartition("/")[2]
            return 0 if path == word or name.startswith(word) else 1 if word in name else 2, len(path), path

        return [paths[i] for i in sorted(found, key=rank)[:SHOWN]]


_MENTION = re.compile(r'(?:^|\s)@([^\s"]*)$')


def _is_completed() -> bool:
    text = get_app().current_buffer.document.text_before_cursor
    return text.startswith("/") or _MENTION.search(text) is not None


def _keys() -> KeyBindings:
    keys = KeyBindings()
    typing = has_focus(DEFAULT_BUFFER)  # and not a search through the history

    @keys.add("enter", filter=typing)
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.text_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter", filter=typing)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys


def _history(file: Path) -> History:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600))
        file.chmod(0o600)
        if file.stat().st_size > HISTORY_BYTES:
            data = file.read_bytes()
            file.write_bytes(data[data.find(b"\n# ", len(data) // 2) :])
    except OSError:
        return InMemoryHistory()
    return _Kept(file)


class _Kept(FileHistory):
    def store_string(self, string: str) -> None:
        with contextlib.suppress(OSError):  # a full disk: the line is still there until the chat ends
            super().store_string(string)
