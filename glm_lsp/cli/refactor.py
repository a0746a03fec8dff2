"""`glm-lsp refactor`: one command from an instruction to checked, applied and verified edits.

Never does the work itself: it reads the options, picks a face for the events and turns the result into an exit code.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glm_lsp.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from glm_lsp.cli.headless import Plan
    from glm_lsp.cli.render import Terminal
    from glm_lsp.cli.reports import Result
    from glm_lsp.cli.waiting import Waiting
    from glm_lsp.engine.engine import Engine
    from glm_lsp.settings import EngineSettings
    from glm_lsp.terms import Event
    from glm_lsp.workspace import Workspace

FORMATS = ("text", "json", "ndjson", "patch", "sarif", "junit")

EPILOG = """\b
Exit codes: 0 done, or nothing to do · 1 --check found changes to make ·
2 the verification failed and all was reverted · 3 the engine or the turn failed ·
4 wrong usage or setting · 130 cancelled."""

ACTION_HELP = (
    "What kind of work this is: refactor (the default), document, generate_tests, simplify, add_types, "
    "translate_comments, convert, rename, move_to_file, inline, fix_all, explain, review_file, review_diff, or one of your "
    "own. Where it needs no words, INSTRUCTION may be ''."
)


@click.command(epilog=EPILOG)
@click.argument("instruction")
@click.argument("paths", nargs=-1, type=click.Path())
@click.option("--diff", "mode", flag_value="diff", default="diff", help="Show the changes, write nothing (default).")
@click.option("--apply", "mode", flag_value="apply", help="Apply the changes, all of them or none.")
@click.option("--check", "mode", flag_value="check", help="Write nothing; exit with 1 where there are changes to make.")
@click.option("--action", default="refactor", metavar="ID", help=ACTION_HELP)
@click.option("--thinking", type=click.Choice(("on", "off", "auto")), default="auto", help="Whether the model thinks.")
@click.option("--verify", default="", metavar="CMD", help="With --apply: a command that must succeed afterwards.")
@click.option("--each", type=click.Choice(("file",)), help="One turn for each file instead of one for all.")
@click.option("--jobs", type=click.IntRange(1, 256), default=1, help="With --each file: turns at a time.")
@click.option("--resume", type=click.Path(path_type=Path), help="With --each file: notes finished files, skips them.")
@click.option("--session", default="", metavar="NAME", help="Go on with a conversation, or begin one of that name.")
@click.option("--worktree", is_flag=True, help="Work on a new branch in a worktree of its own.")
@click.option("--commit", is_flag=True, help="With --apply: commit the changed files.")
@click.option("--output", type=click.Choice(FORMATS), default="text", help="What is written to standard output.")
@click.option("--engine", "engine_url", default="", metavar="URL", help="The engine: http://…, unix:/…")
@click.option("--model", default="", metavar="NAME", help="The model, where the engine serves several.")
@click.option("--root", type=click.Path(path_type=Path), default=Path(), help="A folder in the workspace.")
@click.option("--save-svg", type=click.Path(path_type=Path), hidden=True)
def refactor(
    instruction: str,
    paths: tuple[str, ...],
    mode: Any,
    action: str,
    thinking: Any,
    verify: str,
    each: str | None,
    jobs: int,
    resume: Path | None,
    session: str,
    output: str,
    engine_url: str,
    model: str,
    root: Path,
    save_svg: Path | None,
    *,
    worktree: bool,
    commit: bool,
) -> int:
    """Change code by INSTRUCTION (`-` reads it from standard input) in PATHS, or in the whole workspace."""
    from glm_lsp import actions, settings
    from glm_lsp.cli import git, reports
    from glm_lsp.cli.headless import Plan, exit_code, mcp_tools
    from glm_lsp.cli.waiting import Waiting
    from glm_lsp.conversations import Conversations
    from glm_lsp.engine import open_engine
    from glm_lsp.index.walk import find_root
    from glm_lsp.terms import Ask
    from glm_lsp.workspace import Workspace

    if session and each:
        raise UsageError("--session is one conversation, and --each file makes many.", hint="Leave one of them out.")
    _fits_together(mode, each=each, jobs=jobs, resume=resume, verify=verify, commit=commit, worktree=worktree)
    if instruction == "-":
        instruction = sys.stdin.read()
    chosen = {"engine.url": engine_url, "engine.model": model}
    loaded = settings.load(find_root(root), overrides={name: value for name, value in chosen.items() if value})
    workspace = Workspace.open(root, loaded)
    if not actions.find(action, workspace.own.actions).headless:
        raise UsageError(f"{action} is about a place in an editor.", hint="Say what to change, without --action.")
    selected = workspace.listing.select(paths, cwd=Path.cwd() if root == Path() else root)
    waiting = Waiting()
    engine = open_engine(_ranked(loaded.engine, each=each), on_wait=waiting)
    face = _Face(output, save_svg)
    for line in workspace.own.notes:
        face.note(line)
    for killed in workspace.recovered:
        face.note(f"Took back a run that was killed while it wrote: {killed.label} · {len(killed.paths)} files")
    if each is not None:
        face.batch(len(selected))
    shelf = Conversations.at(workspace.root) if session else None
    conversation = shelf.named(session) if shelf else None
    stack = contextlib.ExitStack()
    further = stack.enter_context(mcp_tools(workspace, face.note))
    plan = Plan(
        ask=Ask(action, instruction, selected, thinking),
        mode=mode,
        verify=verify,
        each_file=each == "file",
        jobs=jobs,
        resume=resume,
        commit=commit,
        conversation=conversation,
        further=further,
    )
    with stack:
        if shelf and conversation:
            stack.enter_context(shelf.claim(conversation, catch_up=True))
        place = None
        if worktree:
            place = stack.enter_context(git.worktree(workspace.root, action))
            workspace = Workspace.open(place.folder, loaded)
        result = asyncio.run(_until_done(plan, workspace, engine, face, waiting))
        face.finish(result, plan)
        if commit and result.applied:
            changed = [change.path for change in reports.changes(result)]
            message = f"{instruction.strip() or action}\n\nMade with glm-lsp {action}."
            face.note(f"Committed {git.commit(workspace.root, changed, message)}")
        if place is not None and result.applied:
            place.keep = True
            face.note(f"The changes are in {place.folder} on branch {place.branch}")
    return exit_code(result, plan)


def _ranked(options: EngineSettings, *, each: str | None) -> EngineSettings:
    """The settings with the priority that fits: with --each file, or no terminal, nobody waits at a screen."""
    from glm_lsp.engine import turnstile

    unattended = each is not None or not sys.stdout.isatty()
    return dataclasses.replace(options, priority=options.priority or (turnstile.HEADLESS if unattended else 0))


def _fits_together(
    mode: str, *, each: str | None, jobs: int, resume: Path | None, verify: str, commit: bool, worktree: bool
) -> None:
    if mode != "apply" and (verify or commit or worktree):
        given = "--verify" if verify else "--commit" if commit else "--worktree"
        raise UsageError(f"{given} needs --apply.", hint="Add --apply, or leave it out.")
    if each is None and (jobs > 1 or resume):
        raise UsageError(f"{'--jobs' if jobs > 1 else '--resume'} needs --each file.", hint="Add --each file.")
    if resume and worktree:
        raise UsageError("--resume cannot be used with --worktree: each run has a new worktree.")


async def _until_done(plan: Plan, workspace: Workspace, engine: Engine, face: _Face, waiting: Waiting) -> Result:
    """Runs the plan; the first Ctrl-C cancels it cleanly, the second one kills the program."""
    from glm_lsp.cli.headless import run
    from glm_lsp.cli.reports import Result

    async def work() -> Result:
        try:
            await engine.connect()
        finally:
            waiting.close()
        face.engine(engine)
        return await run(plan, workspace, engine, face.show, face.note)

    task = asyncio.ensure_future(work())
    loop = asyncio.get_running_loop()

    def kill(*_: object) -> None:
        # Runs between two steps of whatever keeps the loop busy; the journal mends what this leaves.
        with contextlib.suppress(Exception):
            face.close()
        os._exit(130)

    def interrupt() -> None:
        task.cancel()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
            signal.signal(number, kill)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    try:
        return await task
    except asyncio.CancelledError:
        return Result(turns=(), cancelled=True)  # before the first turn
    finally:
        await engine.close()


class _Face:
    """What a person or a program sees of a run: events and notes to one stream, a report to the other."""

    def __init__(self, output: str, save_svg: Path | None) -> None:
        self.output = output
        self.save_svg = save_svg
        self._encode: Callable[[Event], bytes] | None = None
        self._terminal: Terminal | None = None
        if output == "ndjson":
            from glm_lsp.cli.ndjson import encode

            self._encode = encode
        # A report goes to standard output; then a person watches on the other stream, if at all.
        elif output == "text" or sys.stderr.isatty():
            from glm_lsp.cli.render import Terminal

            self._terminal = Terminal(sys.stdout if output == "text" else sys.stderr, record=save_svg is not None)

    def show(self, event: Event) -> None:
        if self._encode is not None:
            sys.stdout.buffer.write(self._encode(event) + b"\n")
            sys.stdout.buffer.flush()
        elif self._terminal is not None:
            self._terminal.show(event)

    def note(self, line: str) -> None:
        if self._terminal is not None:
            self._terminal.note(line)
        else:
            sys.stderr.write(line + "\n")

    def batch(self, files: int) -> None:
        """From here on, one line a finished file under one progress bar."""
        if self._terminal is not None:
            self._terminal.batch(files)

    def engine(self, engine: Engine) -> None:
        """Says who answers, once it is known; that it is only a stand-in is said in any case."""
        banner = engine.profile.banner if engine.profile.stand_in else ""
        if self._terminal is not None:
            self._terminal.engine_line(engine.model, note=banner)
        elif banner:
            self.note(banner)

    def close(self) -> None:
        if self._terminal is not None:
            self._terminal.close()

    def finish(self, result: Result, plan: Plan) -> None:
        from glm_lsp.cli import reports

        terminal = self._terminal
        if terminal is not None and self.output == "text" and not result.applied and not terminal.streamed:
            terminal.diff(reports.changes(result))
        if result.applied:
            self.note(f"Applied {reports.size(result)} · undo with: glm-lsp undo")
        self.close()
        if self._terminal is not None and self.save_svg is not None:
            self._terminal.save_svg(self.save_svg, f'glm-lsp refactor "{plan.ask.instruction}"')
        report = {
            "json": reports.as_json,
            "patch": reports.patch,
            "sarif": reports.sarif,
            "junit": reports.junit,
        }.get(self.output)
        if report is not None:
            # A patch may hold bytes of files that are not UTF-8.
            sys.stdout.buffer.write(report(result).encode("utf-8", "surrogateescape"))
            sys.stdout.buffer.flush()
