"""The events of one turn on their way to one client that asked for them: what they say there, and their numbers.

Never numbers what is not sent: a number is given when a message is written, so that merged ones leave no gap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from glm_lsp import terms
from glm_lsp.edits.hunks import counts
from glm_lsp.server import frames, wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from glm_lsp.server.outbox import Outbox
    from glm_lsp.terms import Event, FileChange, Happening


class TurnEvents:
    """Tells one client about one turn.

    Args:
        turn: its id, under which the outbox keeps its events in order.
        conversation: the id of its conversation.
        wanted: what the client opted in to.
        uri_of: the address of a path, as the client spells it.
        outbox: the client's.
    """

    def __init__(
        self,
        turn: str,
        conversation: str,
        *,
        wanted: wire.GlmClientCapabilities,
        uri_of: Callable[[str], str],
        outbox: Outbox,
    ) -> None:
        self.turn = turn
        self.conversation = conversation
        self._wanted = frozenset(wire.EVENTS if wanted.events is True else wanted.events or ())
        self._spell = Spelling(uri_of)
        self._outbox = outbox
        self._sent = 0

    @property
    def key(self) -> str:
        """The outbox's key for what belongs to this turn."""
        return f"turn {self.turn}"

    def tell(self, event: Event) -> None:
        """Queues an event, if the client wants its type; from any thread, in the order of the events."""
        said = self._spell.spell(event.what)
        if said is None or str(said.__struct_config__.tag) not in self._wanted:
            return
        piece = _Piece(self, event.at, said)
        if isinstance(said, wire.ThinkingAdded | wire.TextAdded) or _grows(said):
            self._outbox.stream(self.key, piece)
        else:
            self._outbox.send(piece, self.key)

    def encoded(self, at: float, said: wire.AnyEvent) -> bytes:
        """The notification, with the next number; for the outbox."""
        params = wire.TurnEvent(
            v=wire.VERSION,
            turn_id=self.turn,
            conversation_id=self.conversation,
            seq=self._sent + 1,
            t=round(at, 3),
            event=said,
        )
        body = frames.encode({"jsonrpc": "2.0", "method": "glm/turn/event", "params": params})
        self._sent += 1  # only now: what cannot be encoded has no number
        return body


class Spelling:
    """Happenings of one turn in the protocol's words, in order: what one says may depend on those before it."""

    def __init__(self, uri_of: Callable[[str], str]) -> None:
        self._uri_of = uri_of
        self._open: dict[str, tuple[str, int, int]] = {}  # by call: path, first line and lines that go
        self._proposal: str | None = None

    def spell(self, what: Happening) -> wire.AnyEvent | None:
        """The event; None for one that has nothing to be told of, such as the end of a hunk that never began."""
        match what:
            case terms.Started():
                files = tuple(map(self._uri_of, what.paths))
                return wire.Start(
                    action=what.action,
                    instruction=what.instruction,
                    model=what.model,
                    thinking=what.thinking,
                    files=files,
                )
            case terms.Queued():
                return wire.Queued(place=what.place)
            case terms.ContextChosen():
                return self._chosen(what)
            case terms.ThinkingAdded():
                return wire.ThinkingAdded(text=what.text)
            case terms.ThinkingEnded():
                return wire.ThinkingEnded(seconds=round(what.seconds, 3), tokens=what.tokens)
            case terms.TextAdded():
                return wire.TextAdded(text=what.text)
            case terms.ToolCalled():
                return wire.ToolCalled(call_id=what.call, tool=what.tool, title=what.title, arguments=what.arguments)
            case terms.ToolReturned():
                return wire.ToolReturned(
                    call_id=what.call,
                    ok=what.ok,
                    outcome=what.outcome,
                    result=what.result,
                    seconds=round(what.seconds, 3),
                )
            case terms.PermissionAsked():
                return wire.PermissionAsked(
                    call_id=what.call, tool=what.tool, title=what.title, detail=what.detail, confined=what.confined
                )
            case terms.QuestionAsked():
                return wire.QuestionAsked(call_id=what.call, question=what.question, options=what.options)
            case terms.HunkOpened() | terms.HunkGrew() | terms.HunkClosed():
                return self._hunk(what)
            case terms.Found():
                return self._finding(what)
            case terms.Compacted():
                return wire.Compacted(
                    before=what.before,
                    after=what.after,
                    files=what.files,
                    summary=what.summary,
                    usage=usage(what.usage),
                )
            case terms.Proposed():
                self._proposal = what.proposal.id
                return self._proposed(what.proposal)
            case terms.Used():
                return _used(what)
            case terms.Warned():
                return wire.Warned(code=what.code, message=what.message)
            case terms.Ended():
                return wire.End(
                    stop_reason=what.reason,
                    usage=usage(what.usage),
                    seconds=round(what.seconds, 3),
                    error=fault(what),
                    proposal_id=self._proposal,
                )

    def _hunk(self, what: terms.HunkOpened | terms.HunkGrew | terms.HunkClosed) -> wire.HunkShown | None:
        if isinstance(what, terms.HunkOpened):
            self._open[what.call] = (what.path, what.line, 0)
        if what.call not in self._open:
            return None
        path, line, gone = self._open[what.call]
        removed: tuple[str, ...] = ()
        added: tuple[str, ...] = ()
        if isinstance(what, terms.HunkGrew):
            removed, added = what.removed, what.added
            gone += len(removed)
            self._open[what.call] = (path, line, gone)
        closed = isinstance(what, terms.HunkClosed)
        if closed:
            del self._open[what.call]
        return wire.HunkShown(
            call_id=what.call,
            state="closed" if closed else "opened" if isinstance(what, terms.HunkOpened) else "grew",
            uri=self._uri_of(path),
            range=_lines(line - 1, line - 1 + gone),
            removed=removed,
            added=added,
            ok=what.ok if isinstance(what, terms.HunkClosed) else None,
            reason=what.reason if isinstance(what, terms.HunkClosed) else "",
        )

    def _chosen(self, what: terms.ContextChosen) -> wire.ContextChosen:
        files = tuple(
            wire.ChosenFile(uri=self._uri_of(one.path), reason=one.reason, tokens=one.tokens, whole=one.whole)
            for one in what.files
        )
        return wire.ContextChosen(files=files, tokens=what.tokens, words=what.words, note=what.note)

    def _finding(self, what: terms.Found) -> wire.Found:
        found = what.finding
        return wire.Found(
            call_id=what.call,
            uri=self._uri_of(found.path),
            range=_lines(found.first_line - 1, found.last_line),
            severity=found.severity,
            message=found.message,
            suggestion=found.suggestion,
        )

    def _proposed(self, proposal: terms.Proposal) -> wire.Proposed:
        return wire.Proposed(
            proposal_id=proposal.id,
            summary=proposal.summary,
            files=tuple(self._file(change) for change in proposal.changes),
            objections=tuple(objection(one, self._uri_of) for one in proposal.objections),
            unchecked=tuple(map(self._uri_of, proposal.unchecked)),
        )

    def _file(self, change: FileChange) -> wire.ProposedFile:
        added, removed = counts((change,))
        return wire.ProposedFile(uri=self._uri_of(change.path), kind=file_kind(change), added=added, removed=removed)


def usage(used: terms.Usage) -> wire.Usage:
    """Tokens, in the protocol's words."""
    return wire.Usage(
        input_tokens=used.read, output_tokens=used.written, cached_tokens=used.cached, thinking_tokens=used.thought
    )


def fault(ended: terms.Ended) -> wire.Fault | None:
    """Why a turn did not end well; None where it did."""
    if not (ended.code or ended.error):
        return None
    return wire.Fault(code=ended.code, message=ended.error, hint=ended.hint)


def objection(said: terms.Objection, uri_of: Callable[[str], str]) -> wire.Objection:
    """What is wrong with a file, in the protocol's words."""
    return wire.Objection(
        uri=uri_of(said.path), kind=said.kind, message=said.message, line=said.line - 1 if said.line else None
    )


def file_kind(change: FileChange) -> wire.FileKind:
    """What becomes of a file."""
    return "create" if change.before is None else "delete" if change.after is None else "edit"


class _Piece:
    """One event that waits in the outbox; pieces of text are kept apart until they are written, and joined once."""

    def __init__(self, events: TurnEvents, at: float, said: wire.AnyEvent) -> None:
        self._events = events
        self._at = at
        self._said = [said]
        self.size = _SMALL + _weight(said)

    def merged(self, other: Self) -> Self | None:
        """Takes the other in, where both go on with the same thing."""
        mine, its = self._said[-1], other._said[0]
        if type(mine) is not type(its) or other._events is not self._events:
            return None
        if isinstance(mine, wire.HunkShown) and isinstance(its, wire.HunkShown) and mine.call_id != its.call_id:
            return None
        self._said += other._said
        self.size += other.size - _SMALL
        return self

    def encode(self) -> bytes:
        """The notification."""
        return self._events.encoded(self._at, _joined(self._said))


_SMALL = 160  # bytes of a notification around what it says


def _joined(said: list[wire.AnyEvent]) -> wire.AnyEvent:
    last = said[-1]
    if len(said) == 1:
        return last
    if isinstance(last, wire.HunkShown):
        hunks = [one for one in said if isinstance(one, wire.HunkShown)]
        return wire.HunkShown(
            call_id=last.call_id,
            state=last.state,
            uri=last.uri,
            range=last.range,
            removed=tuple(line for one in hunks for line in one.removed),
            added=tuple(line for one in hunks for line in one.added),
        )
    text = "".join(one.text for one in said if isinstance(one, wire.ThinkingAdded | wire.TextAdded))
    return wire.ThinkingAdded(text=text) if isinstance(last, wire.ThinkingAdded) else wire.TextAdded(text=text)


def _weight(said: wire.AnyEvent) -> int:
    if isinstance(said, wire.ThinkingAdded | wire.TextAdded):
        return len(said.text.encode("utf-8", "surrogatepass"))
    if isinstance(said, wire.HunkShown):
        return sum(len(line) + 3 for lines in (said.removed, said.added) for line in lines)
    return 256


def _grows(said: wire.AnyEvent) -> bool:
    return isinstance(said, wire.HunkShown) and said.state == "grew"


def _used(what: terms.Used) -> wire.Used:
    used, rest = what.usage, what.seconds - what.first_token
    return wire.Used(
        input_tokens=used.read,
        output_tokens=used.written,
        ttft_ms=round(what.first_token * 1000, 1),
        tokens_per_second=round((used.written - 1) / rest, 1) if rest > 0 and used.written > 1 else 0.0,
        cached_tokens=used.cached,
        thinking_tokens=used.thought,
    )


def _lines(first: int, behind: int) -> wire.Range:
    """Whole lines, counted from 0."""
    return wire.Range(
        start=wire.Position(line=max(first, 0), character=0), end=wire.Position(line=max(behind, 0), character=0)
    )
