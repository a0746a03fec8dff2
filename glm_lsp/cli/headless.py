"""A headless run: turns over the chosen files, the changes applied, verified, sent back for repair or reverted.

Never prints: events go to a listener, and the end comes back as a Result.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from glm_lsp import prompt
from glm_lsp.cli import git
from glm_lsp.cli.reports import Refusal, Result, TurnResult
from glm_lsp.cli.verify import Verification, verify
from glm_lsp.conversations import Conversation
from glm_lsp.errors import Conflict, GlmError, SettingsError
from glm_lsp.terms import (
    Ask,
    Ended,
    Found,
    HunkClosed,
    HunkOpened,
    Proposal,
    Proposed,
    Queued,
    Started,
    TextAdded,
    ToolCalled,
    Warned,
)
from glm_lsp.turn.opening import FEW_FILES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from glm_lsp.edits.draft import Draft
    from glm_lsp.engine.engine import Engine
    from glm_lsp.terms import Event, Finding
    from glm_lsp.tools import Tool
    from glm_lsp.workspace import Workspace

Mode = Literal["diff", "apply", "check"]

EXIT_DONE, EXIT_WOULD_CHANGE, EXIT_REVERTED, EXIT_ENGINE, EXIT_CANCELLED = 0, 1, 2, 3, 130


@dataclass(frozen=True, slots=True)
class Plan:
    """What a headless run is to do.

    Attributes:
        ask: the action, the words and all files.
        mode: show a diff, apply it, or only tell whether there would be one.
        verify: a shell command that must succeed after applying; empty for none.
        each_file: one turn for each file instead of one for all.
        jobs: turns at a time.
        resume: where finished files are noted, and read back to be skipped; None for nowhere.
        conversation: an earlier conversation to go on with; None for one that is not kept.
        further: tools beside the built-in ones, such as those of MCP servers.
        commit: whether the changes are to be committed, so that files with changes of the person's own stay untouched.
    """

    ask: Ask
    mode: Mode = "diff"
    verify: str = ""
    each_file: bool = False
    jobs: int = 1
    resume: Path | None = None
    commit: bool = False
    conversation: Conversation | None = None
    further: tuple[Tool, ...] = ()


async def run(
    plan: Plan, workspace: Workspace, engine: Engine, show: Callable[[Event], None], note: Callable[[str], None]
) -> Result:
    """Carries out a plan on a connected engine.

    A cancelled run still returns its Result; what it had applied under a pending verification is taken back first.

    `show` is called with every event of every turn, `note` with lines for the person: applied, verified, reverted.

    Raises:
        GlmError: what keeps the run from starting.
    """
    with workspace.indexed(few=FEW_FILES) as indexed:
        work = _Run(plan, indexed, engine, show, note)
        try:
            await work.all_turns()
            if plan.verify and work.applied:
                await work.verified()
        except asyncio.CancelledError:
            work.cancelled = True
            if plan.verify and work.applied:
                work.revert("cancelled before it was verified")
        return work.result()


@contextlib.contextmanager
def mcp_tools(workspace: Workspace, note: Callable[[str], None]) -> Iterator[tuple[Tool, ...]]:
    """The tools of the MCP servers in the settings, for as long as it lasts; `note` hears which could not be started."""
    if not workspace.settings.mcp.servers:
        yield ()
        return
    from glm_lsp.tools.mcp import McpServers

    with McpServers(workspace.settings.mcp, workspace.root) as servers:
        for line in servers.notes:
            note(line)
        yield servers.tools


def exit_code(result: Result, plan: Plan) -> int:
    """The documented exit code of a run."""
    if result.cancelled:
        return EXIT_CANCELLED
    if result.verify is not None and not result.verify.ok:
        return EXIT_REVERTED
    if result.refused or any(turn.ended.reason in {"error", "limit"} for turn in result.turns):
        return EXIT_ENGINE
    if plan.mode == "check" and any(turn.proposal for turn in result.turns):
        return EXIT_WOULD_CHANGE
    return EXIT_DONE


@dataclass(slots=True)
class _Run:
    plan: Plan
    workspace: Workspace
    engine: Engine
    show: Callable[[Event], None]
    note: Callable[[str], None]
    turns: list[TurnResult] = field(default_factory=list)
    applied: list[str] = field(default_factory=list)
    changed: dict[str, None] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    verification: Verification | None = None
    cancelled: bool = False
    _last: tuple[Conversation, Draft] | None = None

    async def all_turns(self) -> None:
        plan = self.plan
        if not plan.each_file:
            await self._turn(plan.ask)
            return
        done = _Finished.read(plan)
        slots = asyncio.Semaphore(plan.jobs)
        warm = asyncio.Event()

        async def one(path: str, *, first: bool) -> None:
            async with slots:
                if not first:
                    # The first turn fills the engine's cache with the prefix that all of them share.
                    await warm.wait()
                try:
                    result = await self._turn(replace(plan.ask, paths=(path,)), warm)
                finally:
                    warm.set()
                if result.ended.reason in {"done", "nothing"}:
                    done.add(path)

        try:
            async with asyncio.TaskGroup() as group:
                for number, path in enumerate(path for path in plan.ask.paths if path not in done.paths):
                    group.create_task(one(path, first=number == 0))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _turn(
        self, ask: Ask, warm: asyncio.Event | None = None, last: tuple[Conversation, Draft] | None = None
    ) -> TurnResult:
        conversation, draft = last or (self.plan.conversation or Conversation(), self.workspace.draft())
        self._last = (conversation, draft)
        turn = self.workspace.turn(ask, self.engine, conversation=conversation, draft=draft, further=self.plan.further)
        words: list[str] = []
        places: dict[str, tuple[str, int]] = {}
        refusals: list[Refusal] = []
        findings: list[Finding] = []
        warnings: list[str] = []
        proposal: Proposal | None = None
        result: TurnResult | None = None
        async for event in turn.run():
            what = event.what
            if isinstance(what, TextAdded):
                words.append(what.text)
            elif isinstance(what, ToolCalled):
                words.clear()  # what was said before a tool call is not the answer
            elif isinstance(what, Warned):
                warnings.append(what.message)
                if what.code == "asked-again":
                    words.clear()  # of a reply that is void
            elif isinstance(what, HunkOpened):
                places[what.call] = (what.path, what.line)
            elif isinstance(what, HunkClosed) and not what.ok:
                refusals.append(Refusal(*places[what.call], what.reason))
            elif isinstance(what, Found):
                findings.append(what.finding)
            elif isinstance(what, Proposed):
                proposal = what.proposal
            elif isinstance(what, Ended):
                result = TurnResult(
                    turn.id,
                    ask.paths,
                    ask.action,
                    ask.instruction,
                    what,
                    proposal,
                    tuple(warnings),
                    "".join(words),
                    tuple(refusals),
                    tuple(findings),
                )
                self.turns.append(result)
            if warm is not None and not isinstance(what, Started | Queued):
                warm.set()
            self.show(event)
        if result is None:
            raise AssertionError("a turn ends with Ended")
        if proposal is not None and self.plan.mode == "apply" and result.ended.reason == "done":
            self._accept(proposal)
            draft.rebase()
        return result

    def _accept(self, proposal: Proposal) -> None:
        paths = [change.path for change in proposal.changes]
        try:
            mixed = (
                git.dirty(self.workspace.root, [p for p in paths if p not in self.changed]) if self.plan.commit else ()
            )
            if mixed:
                raise Conflict(
                    f"{', '.join(mixed)} has changes of your own, which the commit would take along.",
                    hint="Commit them first, or leave out --commit.",
                )
            self.applied.append(self.workspace.accept(proposal, label=_first_line(self.plan.ask)))
        except GlmError as error:
            self.refused.append(error.message)
            self.note(f"Not applied: {error.message} {error.hint}".rstrip())
            return
        self.changed.update(dict.fromkeys(paths))

    async def verified(self) -> None:
        """Verifies what was applied; a failure goes back to the model a bounded number of times, then all is reverted."""
        plan, limits = self.plan, self.workspace.settings.turn
        for attempt in range(limits.repairs + 1):
            verified = await verify(plan.verify, self.workspace.root, seconds=limits.max_seconds)
            self.verification = verified
            self.note(f"Ran {plan.verify} · {'passed' if verified.ok else 'failed'} · {verified.seconds:.1f} s")
            if verified.ok:
                return
            if attempt == limits.repairs or not self.engine.profile.tools:
                break
            words = prompt.verification_failed(plan.verify, verified.output)
            paths = () if len(self.turns) == 1 else tuple(self.changed)
            ask = replace(plan.ask, instruction=words, paths=paths)
            before = len(self.applied)
            await self._turn(ask, last=self._last if len(self.turns) == 1 or attempt else None)
            if len(self.applied) == before:
                break  # it has nothing more to offer, and the same files would fail the same way
        self.revert("the verification failed")

    def revert(self, why: str) -> None:
        """Takes back every applied run, the newest first."""
        while self.applied:
            try:
                self.workspace.undo(self.applied[-1])
            except Conflict as error:
                self.refused.append(error.message)
                self.note(f"Not reverted: {error.message} {error.hint}".rstrip())
                return
            self.applied.pop()
        self.note(f"Reverted: {why}.")

    def result(self) -> Result:
        return Result(
            turns=tuple(self.turns),
            verify=self.verification,
            applied=bool(self.applied),
            runs=tuple(self.applied),
            refused=tuple(self.refused),
            cancelled=self.cancelled,
        )


def _first_line(ask: Ask) -> str:
    return ask.instruction.strip().split("\n", 1)[0] or ask.action


@dataclass(slots=True)
class _Finished:
    """The note of finished files: a line of JSON each, so that a killed run loses at most one."""

    path: Path | None
    key: str
    paths: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, plan: Plan) -> _Finished:
        words = "\0".join((plan.ask.action, plan.ask.instruction, plan.mode))
        finished = cls(plan.resume, hashlib.sha256(words.encode()).hexdigest()[:16])
        if plan.resume is None:
            return finished
        try:
            lines = plan.resume.read_text(encoding="utf-8").splitlines() if plan.resume.exists() else []
            for line in lines:
                if not line or not line.endswith("}"):
                    continue  # cut short when a run was killed while it wrote
                entry = json.loads(line)
                if entry["work"] == finished.key:
                    finished.paths.add(entry["path"])
        except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
            raise SettingsError(
                f"{plan.resume} is not a note of finished files: {error}.", hint="Name another file, or remove it."
            ) from error
        return finished

    def add(self, path: str) -> None:
        self.paths.add(path)
        if self.path is None:
            return
        with self.path.open("a", encoding="utf-8") as file:
            # The newline in front ends a line that a killed run may have left.
            file.write("\n" * bool(file.tell()) + json.dumps({"work": self.key, "path": path}))
            file.flush()
            os.fsync(file.fileno())
