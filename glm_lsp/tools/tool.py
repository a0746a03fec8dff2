"""What a tool is: a frozen schema the model sees, and a function that runs it inside the workspace.

Never raises for what the model did wrong: a refusal is a result the model reads and can act on.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pathspec

from glm_lsp.edits.hunks import hunks
from glm_lsp.errors import BadArguments, GlmError
from glm_lsp.index.kinds import Kind, by_name
from glm_lsp.settings import ToolSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterator, Sequence
    from pathlib import Path

    from glm_lsp.edits.draft import Draft
    from glm_lsp.edits.text import Text
    from glm_lsp.index.index import Index
    from glm_lsp.index.walk import Listing
    from glm_lsp.terms import Finding, Hunk, Problem, ToolSpec

RESULT_LIMIT = 40_000
"""Characters of one result at most: about 10,000 tokens, so that no single call fills the context."""

LINE_WIDTH = 240
"""Characters of one line in a list of places."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a tool may touch.

    Attributes:
        draft: the turn's shadow copy.
        listing: the workspace's files.
        settings: the limits.
        stop: set when the turn is cancelled; whatever takes long looks at it.
        problems: what an editor knows to be wrong with the file at a path of the workspace.
        index: says which files are worth a look; what is found comes from the draft's text all the same.
    """

    draft: Draft
    listing: Listing
    settings: ToolSettings = field(default_factory=ToolSettings)
    stop: threading.Event = field(default_factory=threading.Event)
    problems: Callable[[str], tuple[Problem, ...]] = lambda _path: ()
    index: Index | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call came to: a few words for the person, the whole for the model, the edits it made, and what it found."""

    words: str
    text: str
    ok: bool = True
    hunks: tuple[Hunk, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Tool:
    """One thing the model may do between two thoughts.

    Attributes:
        spec: name, description and schema, as the model sees them.
        title: the line a person sees, from the arguments: verb and object.
        run: does it; errors from `glm_lsp.errors` become the result the model reads.
        edits: whether it changes the draft; such calls run one after the other, in order.
        at_once: whether it leaves the draft alone, so that it can run beside others of the same reply; of those that
            only read and are not so, one runs at a time.
        permission: what a person has to permit before it runs, whole, or None where nothing has to be; such calls
            run in order too. None for a tool that is free. Raises BadArguments for what nobody could permit.
        confined: whether it would run confined in the workspace at this path; of meaning where there is `permission`.
        question: what the person is asked and the answers to choose from; their answer is the result, and `run` is for
            where nobody can answer.
        ends: whether the turn is over when it was carried out.
    """

    spec: ToolSpec
    title: Callable[[dict[str, Any]], str]
    run: Callable[[ToolContext, dict[str, Any]], Outcome]
    edits: bool = False
    at_once: bool = False
    permission: Callable[[dict[str, Any]], str | None] | None = None
    confined: Callable[[Path], bool] | None = None
    question: Callable[[dict[str, Any]], tuple[str, tuple[str, ...]]] | None = None
    ends: bool = False

    @property
    def reads(self) -> bool:
        """Whether it only reads, so that its place among other such calls does not matter."""
        return not self.edits and not self.ends and self.permission is None and self.question is None


def refusal(error: GlmError) -> Outcome:
    """A call that could not be carried out; the model reads why, and what to do instead."""
    words = error.message.split("\n", 1)[0].split(". ", 1)[0].split(": ", 1)[0].rstrip(".:")
    return Outcome(f"refused: {words}", f"{error.message}\n{error.hint}".strip(), ok=False)


def edited(draft: Draft, path: str, before: str) -> Outcome:
    """What an edit of `path`, which read `before`, came to; says so where the file is broken for now."""
    made = hunks(path, before, draft.text(path).content, context=0)
    added, removed = (sum(len(getattr(hunk, side)) for hunk in made) for side in ("added", "removed"))
    objections = [objection for objection in draft.objections() if objection.path == path]
    notes = "".join(f"\nFor now line {o.line}: {o.message}" for o in objections[:3])
    where = f" from line {made[0].new_line}" if made else ""
    return Outcome(f"+{added} −{removed}", f"Edited {path}{where}: +{added} −{removed}.{notes}", hunks=made)


def paths_of(context: ToolContext, glob: str | None) -> list[str]:
    """The workspace's files, those that the draft made among them, that match a pattern as in .gitignore; sorted."""
    made = [change.path for change in context.draft.changes() if change.before is None]
    paths = sorted({*context.listing.paths, *made})
    if not glob:
        return paths
    try:
        spec = pathspec.GitIgnoreSpec.from_lines([glob])
    except ValueError as error:
        raise BadArguments(f"{glob!r} is not a pattern: {error}.") from error
    return [path for path in paths if spec.match_file(path)]


def worth_a_look(context: ToolContext, glob: str | None, words: Sequence[str]) -> frozenset[str] | None:
    """The files in which all these words may stand, whole, in whatever case; None where the index cannot say.

    Too many is no harm: whoever asks looks at the files as the draft has them.
    """
    index = context.index
    # A file in an encoding of its own may spell other letters with other bytes.
    if index is None or not index.looked or not words or not all(word.isascii() for word in words):
        return None
    found = index.files_with(words)
    if found is None:
        return None
    listed = paths_of(context, glob)
    return frozenset(found).union(uncertain(context, listed), _unlisted(index, listed))


def uncertain(context: ToolContext, listed: Collection[str]) -> set[str]:
    """The files of which the draft may have another text than the disk had when the index last looked at all of them."""
    draft, root = context.draft, os.fspath(context.listing.root)
    found = set(draft.stale()) | {change.path for change in draft.changes()}
    since = context.index.looked - CLOCK_SECONDS if context.index is not None else float("inf")
    for path in listed:
        try:
            # The time of the inode: a file that was moved here, or given an old date, has a new one.
            fresh = os.lstat(f"{root}/{path}").st_ctime >= since
        except OSError:
            fresh = True
        if fresh or draft.overlay(path) is not None:
            found.add(path)
    return found


CLOCK_SECONDS = 2.0
"""How far the clock of a file system may be behind ours, its steps included."""


def _unlisted(index: Index, listed: Collection[str]) -> Iterator[str]:
    """The files whose words the index does not keep, or not all of them."""
    for path in listed:
        kind = index.kind_of(path)
        if not kind.has_words and (kind is not Kind.BINARY or by_name(path) is not Kind.BINARY):
            yield path  # such as UTF-16, which is binary to whoever looks for zero bytes


def bounded(found: Sequence[str], most: int, hint: str, *, total: int | None = None) -> list[str]:
    """The first places of a list, with a line that says how many more there are and what to do about it."""
    rest = (len(found) if total is None else total) - most
    return [*found[:most], f"[{rest} {hint}]"] if rest > 0 else list(found)


def stopped(seconds: float, hint: str) -> str:
    """The note that a list is not complete."""
    return f"\n[stopped after {seconds:.0f} seconds: {hint}]"


def texts(context: ToolContext, glob: str | None, *, only: Container[str] | None = None) -> Iterator[tuple[str, Text]]:
    """Yields those files as the draft has them, in order; what is not text, or not ours to read, is passed over."""
    for path in paths_of(context, glob):
        if only is not None and path not in only:
            continue
        try:
            text = context.draft.peek(path)
        except GlmError:
            continue
        yield path, text


def parameter(kind: str, description: str, **more: Any) -> dict[str, Any]:
    """One property of a tool's schema; every property has a type."""
    return {"type": kind, "description": description, **more}


def schema(required: tuple[str, ...], **properties: dict[str, Any]) -> dict[str, Any]:
    """A closed object schema; the order of `properties` is the order the model writes them in."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def numbered(lines: list[str], first: int) -> str:
    """Lines with their numbers as `12|text`: a bar, since a tab would blur the indentation behind it."""
    return "\n".join(f"{number}|{line}" for number, line in enumerate(lines, first))
