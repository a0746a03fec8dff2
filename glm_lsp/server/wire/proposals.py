"""Params and results of what is about proposals, and of all else.

Never does anything: the classes say what travels.
"""

from __future__ import annotations

from typing import Any

from glm_lsp.server.wire.parts import (
    Decision,
    EngineState,
    Exactness,
    FileKind,
    Health,
    HunkState,
    IndexState,
    Objection,
    Permit,
    ProposalState,
    Range,
    TextDocument,
    Wire,
)

# --- proposals ---------------------------------------------------------------------------------------------------


class ProposalRef(Wire, frozen=True, kw_only=True):
    """A proposal.

    Attributes:
        proposal_id: names it.
    """

    proposal_id: str


class ProposalHunk(Wire, frozen=True, kw_only=True):
    """One piece of a proposal that can be decided on its own.

    Attributes:
        hunk_id: names it; stays the same while the proposal lives.
        range: what it replaces, in the document as it is now; where it is stale, where that was.
        old_text: what stands there.
        new_text: what will stand there.
        state: `stale` where the document has changed too much to place it; `accepted` until it was made, then
            `applied`.
    """

    hunk_id: str
    range: Range
    old_text: str
    new_text: str
    state: HunkState


class ProposalFile(Wire, frozen=True, kw_only=True):
    """One file of a proposal.

    Attributes:
        uri: the file.
        kind: what becomes of it.
        hunks: its changes, in order; a new or deleted file has one.
    """

    uri: str
    kind: FileKind
    hunks: tuple[ProposalHunk, ...]


class ProposalResult(Wire, frozen=True, kw_only=True):
    """A proposal, whole.

    Attributes:
        proposal_id: names it.
        turn_id: the turn that made it.
        summary: one line of what it does.
        state: what became of it so far.
        files: what it changes.
        unified_diff: the same as a patch that `git apply` takes, against the files that the turn read.
        objections: what remains to be said against it.
        unchecked: files in languages whose syntax could not be checked.
    """

    proposal_id: str
    turn_id: str
    summary: str
    state: ProposalState
    files: tuple[ProposalFile, ...]
    unified_diff: str
    objections: tuple[Objection, ...]
    unchecked: tuple[str, ...] = ()


class HunkDecision(Wire, frozen=True, kw_only=True):
    """What a person decided of one hunk.

    Attributes:
        hunk_id: the hunk.
        accept: whether it shall be made.
    """

    hunk_id: str
    accept: bool


class ResolveParams(Wire, frozen=True, kw_only=True):
    """What a person decided of a proposal.

    Attributes:
        proposal_id: the proposal.
        decisions: of single hunks.
        accept: of all hunks that `decisions` does not name; absent leaves those pending.
        apply: whether the server has the editor apply what was accepted; false gives the edit back instead.
    """

    proposal_id: str
    decisions: tuple[HunkDecision, ...] = ()
    accept: bool | None = None
    apply: bool = True


class ResolveResult(Wire, frozen=True, kw_only=True):
    """What became of a proposal.

    Attributes:
        applied: whether anything was applied now.
        state: what became of it so far.
        stale: ids of accepted hunks that could not be placed any more, and were not made.
        edit: with `apply` false, the `WorkspaceEdit` of what was accepted, such as this client can apply it.
    """

    applied: bool
    state: ProposalState
    stale: tuple[str, ...]
    edit: dict[str, Any] | None = None


class UndoParams(Wire, frozen=True, kw_only=True):
    """What to take back.

    Attributes:
        run_id: what was applied, by its id; absent for the latest.
        workspace_folder: the address of the folder it was applied in; absent for the first one.
    """

    run_id: str | None = None
    workspace_folder: str | None = None


class UndoResult(Wire, frozen=True, kw_only=True):
    """What was taken back.

    Attributes:
        run_id: its id.
        label: what it was for.
        restored: addresses of the files that are as they were before.
        left: addresses of the files that had changed since, and stay as they are.
    """

    run_id: str
    label: str
    restored: tuple[str, ...]
    left: tuple[str, ...]


# --- status ------------------------------------------------------------------------------------------------------


class Status(Wire, frozen=True, kw_only=True):
    """How the server is, in short.

    Attributes:
        health: `warning` where something is missing, `error` where nothing will work until a person acts.
        quiescent: whether nothing is going on.
        message: one sentence for a person; empty where there is nothing to say.
        turns: how many run.
    """

    health: Health
    quiescent: bool
    message: str
    turns: int = 0


class EngineStatus(Wire, frozen=True, kw_only=True):
    """The engine.

    Attributes:
        model: its name for the model; empty where it is not known yet.
        state: `unknown` until the first turn wants it.
        url: where it is; absent for this host's own.
        context_tokens: how much one request may read and write in all; absent where that is not known.
        banner: what a person has to be told of it, such as that it only stands in for another model.
    """

    model: str
    state: EngineState
    url: str | None = None
    context_tokens: int | None = None
    banner: str = ""


class IndexStatus(Wire, frozen=True, kw_only=True):
    """The index of one folder.

    Attributes:
        workspace_folder: its address.
        state: what is being done.
        files: how many belong to it.
        parsed: how many of these are known by their definitions.
        symbols: how many definitions are known.
        notes: what a person should know, such as that it is in memory only.
    """

    workspace_folder: str
    state: IndexState
    files: int
    parsed: int
    symbols: int
    notes: tuple[str, ...] = ()


class StatusResult(Status, frozen=True, kw_only=True):
    """How the server is.

    Attributes:
        engine: who writes.
        exactness: how preserved thinking reaches the engine: as its exact tokens, as messages, or not at all.
        workspace_folders: the addresses of those that are open.
        versions: names and versions, of the server and what it is made of.
        indexes: what is known of the code, for each folder that has an index.
    """

    engine: EngineStatus
    exactness: Exactness
    workspace_folders: tuple[str, ...]
    versions: dict[str, str]
    indexes: tuple[IndexStatus, ...] = ()


class GpuStatus(Wire, frozen=True, kw_only=True):
    """A GPU of the host on which both the server and the engine run.

    Attributes:
        name: what its driver calls it.
        used_bytes: of its memory, by whatever program.
        total_bytes: of its memory.
        busy: the share of the last moments in which it worked, from 0 to 1; absent where that is not known.
    """

    name: str
    used_bytes: int
    total_bytes: int
    busy: float | None = None


class EngineStatusResult(Wire, frozen=True, kw_only=True):
    """What the engine does; what it does not tell is absent, and so is what did not occur.

    Rates are those since the request before this one, if that was less than a minute ago.
    Times and shares are of the last minute where something occurred in it, else since the engine was started.

    Attributes:
        state: `unknown` where it does not tell what it does, `down` where it does not answer.
        message: why there are no figures, and what to do; empty where there are.
        asleep: whether it was put to sleep.
        model: its name for the model.
        url: where it is.
        up_seconds: since it was started.
        running: requests that are being served.
        waiting: requests in line.
        written_per_second: tokens of replies.
        read_per_second: tokens of prompts.
        first_token_median: seconds in which half of the requests had their first token.
        first_token_tail: seconds in which 95 of 100 requests had.
        between_tokens_median: seconds from one token to the next.
        kv_use: share of the KV cache that is taken, from 0 to 1, as all shares here.
        reused: share of what was read that the prefix cache had.
        drafts_accepted: share of the tokens drafted ahead (MTP) that were taken.
        tokens_per_step: tokens that a step brought, the drafted ones included.
        preempted: requests that had to start again for want of memory, since the engine was started.
        memory_bytes: of its processes where it is this host's own, else of the one that answers.
        gpus: of this host, where it runs here.
    """

    state: EngineState
    message: str = ""
    asleep: bool = False
    model: str = ""
    url: str = ""
    up_seconds: float | None = None
    running: int | None = None
    waiting: int | None = None
    written_per_second: float | None = None
    read_per_second: float | None = None
    first_token_median: float | None = None
    first_token_tail: float | None = None
    between_tokens_median: float | None = None
    kv_use: float | None = None
    reused: float | None = None
    drafts_accepted: float | None = None
    tokens_per_step: float | None = None
    preempted: int | None = None
    memory_bytes: int | None = None
    gpus: tuple[GpuStatus, ...] = ()


# --- what a person does, and is asked ----------------------------------------------------------------------------


class FeedbackParams(Wire, frozen=True, kw_only=True):
    """What a person thought of a turn or a proposal; kept on this host, and told to nobody.

    Attributes:
        decision: what they did with it.
        turn_id: the turn it is about.
        proposal_id: the proposal it is about.
        hunks: ids of the hunks it is about; empty for all.
        latency_ms: how long they looked at it.
    """

    decision: Decision
    turn_id: str | None = None
    proposal_id: str | None = None
    hunks: tuple[str, ...] = ()
    latency_ms: float | None = None


class FocusParams(Wire, frozen=True, kw_only=True):
    """What a person looks at.

    Attributes:
        text_document: the document; absent where it is none.
    """

    text_document: TextDocument | None = None


class TrustParams(Wire, frozen=True, kw_only=True):
    """Whether a person trusts a folder; in one that they do not, there are no tools, instructions or commands.

    Attributes:
        uri: the folder.
        trusted: whether they do.
    """

    uri: str
    trusted: bool


class PermissionParams(Wire, frozen=True, kw_only=True):
    """What the model wants to run.

    Attributes:
        turn_id: the turn.
        call_id: the call, as in its events.
        tool: the tool's name.
        title: verb and object for a person.
        detail: what will run, whole and exact; show all of it.
        confined: whether it will run without network and home folder, writing nowhere but in the workspace.
        options: the answers there are: `once`, `always` for these very words, `tool` for whatever this tool is asked
            to do, `no` for this time, and `never` for these very words.
    """

    turn_id: str
    call_id: str
    tool: str
    title: str
    detail: str
    confined: bool
    options: tuple[Permit, ...]


class PermissionResult(Wire, frozen=True, kw_only=True):
    """What a person says.

    Attributes:
        answer: one of the options; a client that cannot ask answers `no`.
    """

    answer: Permit


class QuestionParams(Wire, frozen=True, kw_only=True):
    """What the model wants to know.

    Attributes:
        turn_id: the turn.
        call_id: the call, as in its events.
        question: what it asks.
        options: answers to choose from; any other will do as well.
    """

    turn_id: str
    call_id: str
    question: str
    options: tuple[str, ...]


class QuestionResult(Wire, frozen=True, kw_only=True):
    """What a person says.

    Attributes:
        answer: their words; absent where they would not answer.
    """

    answer: str | None = None
