"""The shadow copy that one turn works in: files as they were read, as they have become, and what is wrong with them.

Never touches the disk but to read, and never places an edit: it takes edits whose place is known.

Where an editor has a file open, what it shows is the file, saved or not, in the encoding of the one on disk.
"disk" below means both.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from glm_lsp.edits.check import Step, check
from glm_lsp.edits.hunks import hunks
from glm_lsp.edits.splice import refuse_placeholders, replace_lines, splice, split_lines, write_whole
from glm_lsp.edits.text import Text, blank, decode
from glm_lsp.errors import BadArguments, FileRefused, Missing, NotRead, NotText, UnknownSymbol
from glm_lsp.languages import Symbol, find_symbol, parse
from glm_lsp.terms import Edit, FileChange, Hunk, Objection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from glm_lsp.edits.paths import Jail
    from glm_lsp.languages import Parsed
    from glm_lsp.settings import EditSettings

NAMES_SHOWN = 30
"""How many names an unknown symbol is answered with."""


class Draft:
    """The files of one turn; paths may be given in any way that leads to them.

    Attributes:
        jail: which files may be read and written.
        settings: the limits.
        overlay: the text that an editor shows of a file, by its canonical path; None where it is not open.
            Asked from any thread, and only for files that the jail lets through.
    """

    def __init__(self, jail: Jail, settings: EditSettings, overlay: Callable[[str], str | None] | None = None) -> None:
        self.jail = jail
        self.settings = settings
        self.overlay = overlay or _nothing_open
        self._files: Mapping[str, _File] = {}
        self._names: dict[str, str] = {}
        self._judged: dict[str, tuple[_File, tuple[Objection, ...]]] = {}

    # --- reading -------------------------------------------------------------------------------------------------

    def read(self, path: str) -> Text:
        """The file as it is in the draft, from the disk the first time; from then on it may be edited.

        Raises FileRefused in its kinds: outside, protected, missing, too large, binary.
        """
        known = self._known(path)
        if known is None:
            name, known = self._load(path)
            self._names[path] = name
            known = self._files.get(name, known)
            self._files = {**self._files, name: known}
        return known.text

    def peek(self, path: str) -> Text:
        """As `read`, but looking is not reading: the file may not be edited for that."""
        known = self._known(path)
        return known.text if known is not None else self._load(path)[1].text

    def text(self, path: str) -> Text:
        """The file as it is in the draft; raises NotRead where it was not read."""
        return self._file(path).text

    def known_text(self, path: str) -> Text | None:
        """The file as it is in the draft; None where it was not read."""
        known = self._known(path)
        return known.text if known is not None else None

    def live(self, path: str) -> str | None:
        """The file as it is now outside the draft: what an editor shows, else what is on disk; None for neither.

        Raises as `read`, but for missing files.
        """
        try:
            return self._load(path)[1].text.content
        except Missing:
            return None

    def canonical(self, path: str) -> str:
        """How the workspace calls a file that may be read, on disk or in an editor only; raises as `read`."""
        return self._name(path)

    def was_read(self, path: str) -> bool:
        """Whether the file was read or made in this draft."""
        return self._known(path) is not None

    def paths(self) -> tuple[str, ...]:
        """The files that were read or made, sorted."""
        return tuple(sorted(self._files))

    def size(self, path: str) -> int:
        """How large the file is, in bytes on disk, or in characters once it is open or in the draft; raises as `read`."""
        known = self._known(path)
        if known:
            return len(known.text.content)
        name = self._name(path)
        shown = self.overlay(name)
        return len(shown) if shown is not None else self.jail.size(name)

    def digests(self) -> dict[str, str]:
        """A digest of each file as it is in the draft, by path: what the model has seen of it, if it read it here."""
        return {path: known.digest for path, known in self._files.items()}

    def digest(self, path: str) -> str | None:
        """The digest of a file in the draft, else on disk; None where there is no such file for us."""
        known = self._known(path)
        if known is None:
            try:
                known = self._load(path)[1]
            except FileRefused:
                return None
        return known.digest

    def forget(self) -> None:
        """Forgets the files that are as they were read: they have to be read again before they are edited."""
        self._files = {f.path: f for f in self._changed()}

    # --- editing -------------------------------------------------------------------------------------------------

    def put(self, path: str, edit: Edit) -> tuple[Objection, ...]:
        """Makes an edit whose span is of the current text, and returns all that is now wrong with the file.

        Raises:
            NotRead: the file was not read.
            OutsideWorkspace, Protected: it may not be written.
            NotText: its encoding cannot hold the new text.
        """
        return self._put(path, edit, may_go=None)

    def write(self, path: str, content: str) -> Edit:
        """Gives a file a whole new content, or makes a new file; returns what was replaced.

        Raises as `put`; also NothingChanged and PlaceholderText.
        """
        name = self.jail.writable(path)
        known = self._files.get(name)
        if known is None:
            if self.overlay(name) is not None or (self.jail.root / name).exists():
                self._name(name)
                raise NotRead(f"{path} exists and was not read.", hint=f"Call read_file on {path} first.")
            edit = write_whole(None, name, content)
            self._names[path] = name
            fresh = _File(name, None, blank(name))
            text = replace(fresh.text, content=edit.new)
            text.encode()
            self._files = {**self._files, name: fresh.made(text, edit, "")}
            return edit
        edit = write_whole(known.text, name, content)
        self._put(name, edit, may_go="")
        return edit

    def replace_symbol(self, path: str, symbol: str, new_source: str) -> Edit:
        """Replaces a whole definition, with its decorators or attributes, and returns the replacement.

        Args:
            path: its file, which was read.
            symbol: its qualified name (`Class.method`), or an end of it that no other definition has.
            new_source: the new definition; indented as if it stood alone, or as it stands in the file.

        Every line of it gets the indentation that the definition has, strings that go over several lines included.

        Raises as `put`; also UnknownSymbol with the names there are, NothingChanged, PlaceholderText, BadArguments.
        """
        known = self._file(path)
        found = self._symbol(known, symbol)
        if not new_source.strip():
            raise BadArguments("new_source is empty.", hint="Use edit_file to remove a definition.")
        first, last = found.first_line, found.last_line
        text = known.text
        old = text.lines()[first - 1 : last]
        head = old[0][: found.span.start - text.offset_of(first)]
        tail = old[-1][found.span.end - text.offset_of(last) :]
        source = split_lines(new_source.strip("\r\n"))
        new = _indented(source, [old[0][len(head) :], *old[1:]], head[: len(head) - len(head.lstrip(" \t"))])
        if tail.startswith(";") and new[-1].rstrip().endswith(";"):
            tail = tail[1:]  # what ends the statement is not part of every definition
        new = [head + new[0], *new[1:]]
        new[-1] += tail
        refuse_placeholders(new, text.lines())
        edit = replace_lines(text, known.path, first - 1, old=old, new=new, out=new)
        self._put(known.path, edit, may_go=found.qualified)
        return edit

    def symbol_line(self, path: str, symbol: str) -> int | None:
        """The first line of a definition, from 1; None where the file was not read or has no such definition."""
        known = self._known(path)
        tree = known.parsed() if known is not None else None
        found = find_symbol(tree.symbols(), symbol) if tree is not None else ()
        return found[0].first_line if len(found) == 1 else None

    def mark(self) -> object:
        """The state of all files now, for `back_to`."""
        return self._files

    def back_to(self, mark: object) -> None:
        """Forgets everything since the mark was made, what was read included."""
        if not isinstance(mark, dict):
            raise TypeError("a mark comes from mark()")
        self._files = mark

    # --- what has come of it -------------------------------------------------------------------------------------

    def changes(self) -> tuple[FileChange, ...]:
        """What the draft would do to the disk, in the order of the paths."""
        changed = (FileChange(f.path, f.disk, f.text.encode()) for f in self._changed())
        return tuple(change for change in changed if change.before != change.after)

    def hunks(self) -> tuple[Hunk, ...]:
        """The same, piece by piece."""
        return tuple(hunk for f in self._changed() for hunk in hunks(f.path, f.before.content, f.text.content))

    def objections(self) -> tuple[Objection, ...]:
        """What is wrong with the changed files that was not wrong before."""
        return tuple(objection for f in self._changed() for objection in self._judge(f))

    def unchecked(self) -> tuple[str, ...]:
        """Changed files that nobody could check, since we have no grammar for them or they took too long to parse."""
        return tuple(f.path for f in self._changed() if f.parsed() is None)

    def stale(self) -> tuple[str, ...]:
        """Files that are no longer on disk as they were read: applying would meet a conflict."""
        return tuple(
            path for path, known in sorted(self._files.items()) if self._on_disk(path, known.disk or b"") != known.disk
        )

    def reset(self) -> None:
        """Forgets all edits; what was read stays read, as it was then."""
        self._files = {p: _File(p, f.disk, f.before, f.base) for p, f in self._files.items() if f.disk is not None}

    def rebase(self) -> tuple[str, ...]:
        """Starts anew from what is on disk now, after the draft was applied, and returns what others changed there.

        A formatter or a test run may have rewritten files: those are read again, and the model has to be told.
        """
        files: dict[str, _File] = {}
        odd: list[str] = []
        for path, known in sorted(self._files.items()):
            own = known.text.encode()
            data = self._on_disk(path, own)
            if data == own:
                files[path] = _File(path, data, known.text, known.tree if known.steps else known.base)
                continue
            odd.append(path)
            try:
                files[path] = self._load(path)[1]
            except FileRefused:
                continue  # gone, or no longer text: it is not part of the draft any more
        self._files = files
        return tuple(odd)

    # --- the parts -----------------------------------------------------------------------------------------------

    def _known(self, path: str) -> _File | None:
        name = self._names.get(path)
        if name is None:
            try:
                name = self.jail.readable(path)
            except Missing:
                name = path  # made in the draft, perhaps, and not there yet
                with contextlib.suppress(FileRefused):
                    name = self.jail.writable(path)
            except FileRefused:
                return None
            if name in self._files:
                self._names[path] = name
        return self._files.get(name)

    def _file(self, path: str) -> _File:
        known = self._known(path)
        if known is None:
            self._name(path)  # says so where it is missing or not ours
            raise NotRead(f"{path} was not read in this conversation.", hint=f"Call read_file on {path} first.")
        return known

    def _name(self, path: str) -> str:
        """The canonical path of a file that may be read, on disk or in an editor only."""
        try:
            return self.jail.readable(path)
        except Missing:
            with contextlib.suppress(FileRefused):
                name = self.jail.writable(path)
                if self.overlay(name) is not None:
                    return name
            raise

    def _load(self, path: str) -> tuple[str, _File]:
        name = self._name(path)
        shown = self.overlay(name)
        limit = self.settings.max_file_bytes
        try:
            data = self.jail.read(name, limit=limit)
            text = decode(data, name)
        except Missing:
            if shown is None:
                raise
            data, text = b"", blank(name)
        if shown is not None:
            text = text.shown_as(shown)
            data = text.encode()
            if len(data) > limit:
                raise NotText(
                    f"{path} has {len(data):,} bytes in the editor; files over {limit:,} are not read.",
                    hint="edits.max_file_bytes sets this limit.",
                )
        return name, _File(name, data, text)

    def _on_disk(self, path: str, expected: bytes) -> bytes | None:
        """What is there now, and no more of it than it takes to see that it is something else."""
        try:
            if self.overlay(path) is not None:
                return self._load(path)[1].disk
            return self.jail.read(path, limit=len(expected))
        except Missing:
            return None
        except FileRefused:
            return b"\0"  # something that no text equals

    def _put(self, path: str, edit: Edit, *, may_go: str | None) -> tuple[Objection, ...]:
        known = self._file(path)
        self.jail.writable(known.path)
        text = replace(known.text, content=splice(known.text, edit))
        text.encode()
        changed = known.made(text, edit, may_go)
        self._files = {**self._files, known.path: changed}
        return self._judge(changed)

    def _changed(self) -> list[_File]:
        return [f for _, f in sorted(self._files.items()) if f.disk is None or f.text.content != f.before.content]

    def _judge(self, known: _File) -> tuple[Objection, ...]:
        judged = self._judged.get(known.path)
        if judged is None or judged[0] is not known:
            before = known.base if known.disk is not None else None
            judged = (known, check(known.path, before, known.tree, known.steps))
            self._judged[known.path] = judged
        return judged[1]

    def _symbol(self, known: _File, wanted: str) -> Symbol:
        tree = known.parsed()
        symbols = tree.symbols() if tree is not None else ()
        if not symbols:
            raise UnknownSymbol(
                f"{known.path} has no definitions that can be told by name.",
                hint="Use edit_file with lines of the file.",
            )
        found = find_symbol(symbols, wanted)
        if len(found) == 1:
            return found[0]
        if found:
            places = ", ".join(f"{s.qualified} on line {s.first_line}" for s in found[:NAMES_SHOWN])
            raise UnknownSymbol(
                f"{wanted!r} is defined {len(found)} times in {known.path}: {places}.",
                hint="Give the whole qualified name, or use edit_file with lines of the file.",
            )
        names = list(dict.fromkeys(s.qualified for s in symbols))
        by_end = {name.rpartition(".")[2]: name for name in reversed(names)}
        near = difflib.get_close_matches(wanted, names, n=5, cutoff=0.5)
        near += [by_end[n] for n in difflib.get_close_matches(wanted.rpartition(".")[2], list(by_end), n=5)]
        shown = list(dict.fromkeys([*near, *names]))
        more = f" and {len(shown) - NAMES_SHOWN} more" if len(shown) > NAMES_SHOWN else ""
        raise UnknownSymbol(
            f"There is no {wanted!r} in {known.path}. There are: {', '.join(shown[:NAMES_SHOWN])}{more}.",
            hint="Give one of these names.",
        )


def _nothing_open(_path: str) -> None:
    """Says of every file that no editor has it open."""


@dataclass(frozen=True)
class _File:
    """One file at one moment; every edit makes a new one, so that going back is cheap.

    `disk` holds the bytes that were read (None for a new file) and `before` what they say; `base` and `tree` are the
    parsed `before` and the parsed current text, once they were needed.
    """

    path: str
    disk: bytes | None
    before: Text
    base: Parsed | None = None
    current: Text | None = None
    tree: Parsed | None = None
    steps: tuple[Step, ...] = ()

    @functools.cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    @property
    def text(self) -> Text:
        return self.current if self.current is not None else self.before

    def made(self, text: Text, edit: Edit, may_go: str | None) -> _File:
        """The file after an edit that led to `text`."""
        base = self.base if self.steps else self.base or parse(self.path, self.before.content)
        tree = self.tree if self.steps else base
        if tree is not None:
            tree.name_starts()  # known before the edit, those after it follow without looking at the whole file again
            tree = tree.edited(edit.span, edit.new)
        return replace(self, base=base, current=text, tree=tree, steps=(*self.steps, Step(edit.span, edit.new, may_go)))

    def parsed(self) -> Parsed | None:
        """The current text, parsed; None where that cannot be done."""
        if self.steps:
            return self.tree
        return self.base or parse(self.path, self.before.content)


def _indented(source: Sequence[str], old: Sequence[str], own: str) -> list[str]:
    """The source's lines with the indentation `own` in front, the first line without it.

    The source stands alone, or with `own` in front already, or with `own` in front of all lines but the first, as
    when it was copied from behind its indentation.
    """
    blanks = [line[: len(line) - len(line.lstrip(" \t"))] for line in source if line.strip()]
    rest = min((len(b) for b in blanks[1:]), default=0)
    old_rest = min((len(line) - len(line.lstrip(" \t")) for line in old[1:] if line.strip()), default=0)
    if own and not blanks[0] and len(blanks) > 1 and old_rest and rest >= old_rest:
        return [source[0], *(line if line.strip() else "" for line in source[1:])]
    common = blanks[0]
    for blank_part in blanks[1:]:
        while not blank_part.startswith(common):
            common = common[:-1]
    lines = [own + line[len(common) :] if line.strip() else "" for line in source]
    return [lines[0][len(own) :], *lines[1:]]
