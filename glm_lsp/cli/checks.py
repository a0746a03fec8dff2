"""What `glm-lsp doctor` looks at: one function for each thing, each with a Row of what was found.

Never mends anything, and never shows a secret: of tables only the names, of addresses no user.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import platform
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from glm_lsp.errors import GlmError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from glm_lsp.engine.attach import Exactness
    from glm_lsp.engine.client import HttpEngine
    from glm_lsp.settings import EngineSettings, Settings
    from glm_lsp.terms import Prompt, Usage

State = Literal["ok", "note", "wrong"]

ROOM = 200_000_000
"""Free bytes on the disk of the state folder below which there is a note: a long conversation takes megabytes."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the answer.

    Attributes:
        id: a stable name for programs.
        state: whether it is well.
        says: what was found, on one line.
        do: one thing to do about it; empty where there is nothing to do.
        facts: the same for programs.
    """

    id: str
    state: State
    says: str
    do: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def failed(name: str, error: GlmError) -> Row:
    """A check that ended in an error of ours."""
    return Row(name, "wrong", error.message, error.hint, {"code": error.code})


# --- ourselves and the workspace ---------------------------------------------------------------------------------


def versions() -> Row:
    """What runs here."""
    from glm_lsp import __version__

    facts = {"glm_lsp": __version__, "python": platform.python_version(), "system": platform.platform()}
    says = f"glm-lsp {__version__} · Python {facts['python']} · {facts['system']}"
    return Row("versions", "ok", says, facts=facts)


def settings(root: Path, loaded: Settings, error: GlmError | None) -> Row:
    """Which files there are, whether they are valid, and what is not as by default.

    Args:
        root: the workspace.
        loaded: the settings in force.
        error: why they could not be read; then `loaded` stands in for them.
    """
    from glm_lsp.engine import keys
    from glm_lsp.settings import WORKSPACE_FILE, sections, user_file

    files = [str(path) for path in (user_file(), root / WORKSPACE_FILE) if path.is_file()]
    known = {f"GLM_LSP_{section}_{option.name}".upper() for section, _, options in sections() for option in options}
    ours = sorted(name for name in os.environ if name.startswith("GLM_LSP_"))
    stray = [name for name in ours if name not in known | _OTHER_VARIABLES | {loaded.engine.api_key_env}]
    changed = dict(_changed(loaded)) if error is None else {}
    facts = {"files": files, "changed": changed, "variables": ours}
    if error is not None:
        return Row("settings", "wrong", error.message, error.hint or "Mend it and run this again.", facts)
    here = keys.waits(loaded.engine) or os.environ.get(loaded.engine.api_key_env)
    key = f"from {keys.source(loaded.engine)}" if here else "not set"
    says = " · ".join(
        (
            ", ".join(files) or "no file",
            ", ".join(f"{name} = {value}" for name, value in changed.items()) or "all as by default",
            f"key {key}",
        )
    )
    if stray:
        return Row("settings", "note", f"{', '.join(stray)}: no option. {says}", "Correct or unset it.", facts)
    return Row("settings", "ok", says, facts=facts)


_OTHER_VARIABLES = {"GLM_LSP_STATE_DIR", "GLM_LSP_API_KEY", "GLM_LSP_KEEP_TEST_ENGINE"}


def _changed(loaded: Settings) -> Iterator[tuple[str, str]]:
    """The options that are not as by default, with what may be shown of them."""
    from glm_lsp.settings import default_of, sections

    for section, _, options in sections():
        for option in options:
            value = getattr(getattr(loaded, section), option.name)
            if value != default_of(option):
                unsafe = option.name == "api_key_command"  # there may be a password among its words
                unsafe |= option.name == "api_key_env" and not str(value).isidentifier()  # the key itself, by mistake
                yield f"{section}.{option.name}", "…" if unsafe else _shown(value)


def _shown(value: object) -> str:
    """A value as it may be shown: of a table, which may hold keys and passwords, only the names; no user in a URL."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: …" for name in value) + "}"
    if isinstance(value, str) and "@" in value:
        return f"…@{value.rpartition('@')[2]}"
    return value.partition("?")[0] if isinstance(value, str) else json.dumps(value)


def workspace(root: Path) -> Row:
    """Where it is, whether git knows it, and how many files it has."""
    from glm_lsp.index.walk import walk

    if not root.is_dir():
        return Row("workspace", "wrong", f"{root} is not a folder.", "Name one that exists with --root.")
    listing = walk(root)
    facts = {"root": str(root), "git": listing.git, "files": len(listing.paths)}
    says = f"{root} · {'git' if listing.git else 'no git repository'} · {len(listing.paths):,} files"
    if not listing.paths:
        return Row("workspace", "note", says, "There is nothing to work on here; go to the project's folder.", facts)
    return Row("workspace", "ok", says, facts=facts)


def state() -> Row:
    """Whether our own files can be written, and what room there is."""
    from glm_lsp.engine.local.places import state_dir

    folder = state_dir().absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    facts: dict[str, Any] = {"folder": str(folder)}
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"x")
    except OSError as error:
        says = f"{folder} cannot be written: {(error.strerror or str(error)).lower()}."
        return Row("state", "wrong", says, "Mend its permissions, or set GLM_LSP_STATE_DIR to another folder.", facts)
    facts["free_bytes"] = free = shutil.disk_usage(there).free
    says = f"{folder} · {free / 1e9:,.1f} GB free"
    if free < ROOM:
        return Row("state", "note", says, "Make room: what is said and written is kept there.", facts)
    return Row("state", "ok", says, facts=facts)


def conversations(root: Path) -> Row:
    """How many are kept; a damaged file has been set aside by now, as any command would have done."""
    from glm_lsp.conversations import Conversations

    shelf = Conversations.at(root)
    kept = len(shelf.list())
    path = shelf.store.file.path
    size = sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*") if part.is_file())
    facts = {"file": str(path), "kept": kept, "bytes": size, "notes": list(shelf.notes)}
    says = f"{kept:,} kept · {size / 1e6:,.1f} MB · {path}"
    if shelf.notes:
        return Row("conversations", "note", " ".join((*shelf.notes, says)), "Keep the file if you miss some.", facts)
    return Row("conversations", "ok", says, facts=facts)


def programs(root: Path) -> list[Row]:
    """The programs of others that are used where they are installed."""
    from glm_lsp.tools.confine import confined

    rows = []
    for name, program, without in _PROGRAMS:
        path = shutil.which(program)
        facts: dict[str, Any] = {"path": path, "version": _version(program) if path else None}
        if path is None:
            rows.append(Row(name, "note", f"Not found: {without}", f"Install {name}.", facts))
            continue
        says = f"{facts['version']} · {path}"
        if program == "bwrap":
            facts["confines"] = confined(root)
            if not facts["confines"]:
                do = "Allow unprivileged user namespaces, and do not open the home folder itself as a workspace."
                rows.append(Row(name, "note", f"{says} · cannot confine commands here", do, facts))
                continue
        rows.append(Row(name, "ok", says, facts=facts))
    return rows


_PROGRAMS = (
    ("git", "git", "no --worktree, no --commit, and .gitignore is all that says what belongs to a project."),
    ("ripgrep", "rg", "searches read every file themselves."),
    ("bubblewrap", "bwrap", "the model's commands run unconfined, each only where you permit it."),
)


def _version(program: str) -> str:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=10)
    return (done.stdout or done.stderr).strip().split("\n", 1)[0] or "of unknown version"


def grammars() -> Row:
    """Whether the grammar of every language can be loaded."""
    from glm_lsp.languages import LANGUAGES

    broken = {}
    for language in LANGUAGES:
        try:
            language.load()
        except Exception as error:  # noqa: BLE001 - a wheel for another machine fails in many ways
            broken[language.name] = f"{type(error).__name__}: {error}"
    facts = {"languages": len(LANGUAGES), "broken": broken}
    if broken:
        says = f"{', '.join(broken)} cannot be loaded ({next(iter(broken.values()))})"
        return Row("grammars", "wrong", says, "Install glm-lsp again: its grammars come with it.", facts)
    return Row("grammars", "ok", f"{len(LANGUAGES)} languages", facts=facts)


def index(root: Path, loaded: Settings) -> list[Row]:
    """How far what is known of the code is; nothing is read anew for it."""
    from glm_lsp.index.index import Index

    if not loaded.index.enabled:
        return [Row("index", "note", "Turned off.", "Set index.enabled to true.", {"enabled": False})]
    if not root.is_dir():
        return []
    made = Index.open(root, loaded.index)
    try:
        status, notes = made.status, list(made.notes)
    finally:
        made.close()
    facts: dict[str, Any] = {
        "enabled": True,
        "files": status.files,
        "parsed": status.tier1,
        "failed": len(status.failed),
    }
    facts |= {"bytes": status.bytes, "notes": notes}
    says = f"{status.tier1:,} of {status.files:,} files known · {status.bytes / 1e6:,.1f} MB"
    if not status.files:
        says = "Nothing is known yet: it is made when an editor or a run first needs it."
    if notes:
        return [Row("index", "note", " ".join((*notes, says)), "Mend that, then run `glm-lsp index build`.", facts)]
    return [Row("index", "ok", says, facts=facts)]


def mcp(loaded: Settings) -> Row:
    """Which MCP servers are configured; none is started."""
    names = sorted(loaded.mcp.servers)
    return Row("mcp", "ok", ", ".join(names) or "no server is configured", facts={"servers": names})


# --- the engine --------------------------------------------------------------------------------------------------


def engine(settings: Settings, until: float) -> list[Row]:
    """Everything about the engine; it is asked anew, so that the next run goes by what was seen here."""
    from glm_lsp.engine import open_engine

    rows: list[Row] = []
    seconds = max(0.5, until - time.monotonic() - 0.5)
    patient = min(seconds, 30.0)
    quick = dataclasses.replace(
        settings.engine,
        connect_timeout=min(settings.engine.connect_timeout, 5.0),
        first_token_timeout=min(settings.engine.first_token_timeout, patient),
        stall_timeout=min(settings.engine.stall_timeout, patient),
        retries=0,
    )
    if not settings.engine.url:
        from glm_lsp.engine.local import process

        ours = process.status()
        if ours.state == "crashed":
            do = f"Start it again with `glm-lsp engine start`. Its log: {ours.log}"
            return [Row("engine", "wrong", f"{ours.label} is down: {ours.detail}", do, {"code": "crashed"})]
    engine = open_engine(quick, anew=True)
    if settings.engine.url.startswith("scripted:"):
        facts = {"url": settings.engine.url, "model": engine.model, "kind": "scripted"}
        return [Row("engine", "ok", f"A script stands for the model, as {engine.model}.", facts=facts)]

    async def look() -> None:
        from glm_lsp.engine.client import HttpEngine

        assert isinstance(engine, HttpEngine)  # noqa: S101 - for the type checker: what is no script speaks HTTP
        try:
            async with asyncio.timeout(seconds):
                began = time.monotonic()
                await engine.connect()
                rows.extend(_abilities(engine, time.monotonic() - began))
                rows.extend(await _asked(engine))
                rows.append(await metrics(quick))
                rows.extend(Row("model", "note", note, "See what it serves.") for note in engine.take_notes())
        except TimeoutError:
            do = "See whether it is overloaded, or run this again with a longer --timeout."
            name = "request" if rows else "engine"
            rows.append(Row(name, "wrong", f"No answer from {engine.where} within {seconds:.0f} s.", do))
        except GlmError as error:
            rows.append(failed("request" if rows else "engine", error))
        finally:
            await engine.close()

    asyncio.run(look())
    return rows


def _abilities(engine: HttpEngine, seconds: float) -> Iterator[Row]:
    profile, seen = engine.profile, engine.seen
    facts = {
        "url": engine.where,
        "kind": engine.dialect.id,
        "version": engine.version,
        "model": engine.model,
        "profile": profile.id,
        "context": profile.context_length,
        "seconds": round(seconds, 3),
    }
    kind = f"{engine.dialect.id} {engine.version}".strip()
    says = f"{engine.model} · {profile.context_length:,} tokens of context · {kind} · {engine.where}"
    if profile.stand_in:
        yield Row("engine", "note", f"{profile.banner} · {says}", "Point engine.url at a real GLM-4.7.", facts)
    elif profile.id == "generic":
        do = "Serve a model of the GLM-4.7 family, under a name that says so."
        yield Row("engine", "note", f"An unknown model · {says}", do, facts)
    else:
        yield Row("engine", "ok", says, facts=facts)
    state: State = "ok"
    says, do = "The engine parses the model's tool calls.", ""
    if not profile.tools:
        state, says = "note", "None: the model answers questions and cannot read, search or edit."
        do = "" if profile.stand_in else _TOOLS_DO
    elif not seen.tools:
        state, says, do = "note", "As text: the engine parses none, so glm-lsp does.", _TOOLS_DO
    yield Row("tools", state, says, do, {"offered": profile.tools, "parsed": seen.tools})


_TOOLS_DO = "With vLLM, start it with --enable-auto-tool-choice --tool-call-parser glm47."
_BLOCKS = "Count on from here. " * 60  # a few blocks of any server's cache


async def _asked(engine: HttpEngine) -> list[Row]:
    """Asks the same tiny question twice; that shows what becomes of tokens, and of the cache."""
    prompt = await engine.proof(f"{_BLOCKS}{time.time_ns()}")
    first, _ = await _timed(engine, prompt)
    second, usage = await _timed(engine, prompt)
    facts = {"seconds": round(first, 3), "again_seconds": round(second, 3)}
    says = f"{first:.2f} s for two tokens, {second:.2f} s for the same again"
    return [Row("request", "ok", says, facts=facts), _thinking(engine), _cache(engine, usage)]


async def _timed(engine: HttpEngine, prompt: Prompt) -> tuple[float, Usage | None]:
    began, usage = time.monotonic(), None
    async for delta in engine.stream(prompt):
        usage = delta.usage or usage
    return time.monotonic() - began, usage


def _thinking(engine: HttpEngine) -> Row:
    profile, seen, kept = engine.profile, engine.seen, engine.exactness
    facts = {"thinks": profile.thinking, "parsed": seen.thinking, "kept": kept}
    if not profile.thinking:
        return Row("thinking", "note" if not profile.stand_in else "ok", "The model does not think.", facts=facts)
    state, says, do = _KEPT[kept]
    if kept == "messages" and engine.dialect.id == "generic":
        state, says = "note", "Sent back as text; whether this server hands it to the model is not known."
        do = "Set engine.dialect if it is one of those in docs/servers.md."
    elif kept == "messages" and not profile.suffix:
        state, do = "ok", ""  # nothing better is known for this model
    if seen.thinking == "raw":
        says += " The engine leaves it in the text, out of which glm-lsp takes it."
        state, do = "note", "With vLLM, start it with --reasoning-parser glm45."
    return Row("thinking", state, says, do, facts)


_KEPT: dict[Exactness, tuple[State, str, str]] = {
    "tokens": ("ok", "Kept exactly: the engine reads again the very tokens that it wrote.", ""),
    "messages": (
        "note",
        "Kept as text, word for word: the engine reads some of it anew where its spelling differs.",
        "For exact tokens use vLLM 0.32 or later and GLM-4.7's own chat template.",
    ),
    "none": (
        "note",
        "Not kept: what the model thought before is gone with the next question.",
        "Serve a model that keeps it, such as GLM-4.7.",
    ),
}


def _cache(engine: HttpEngine, usage: Usage | None) -> Row:
    cached = usage.cached if usage else None
    facts = {"reported": cached is not None, "cached": cached, "read": usage.read if usage else None}
    vllm = engine.dialect.id == "vllm"
    if cached is None:
        do = "Start vLLM with --enable-prompt-tokens-details to see what is reused." if vllm else ""
        return Row("cache", "note", "The engine does not tell what it reuses of a prompt.", do, facts)
    if not cached:
        do = "Start vLLM with --enable-prefix-caching." if vllm else "Turn on its prefix cache."
        return Row("cache", "note", "The same prompt was read anew: nothing is reused.", do, facts)
    read = facts["read"] or 1
    return Row("cache", "ok", f"{cached:,} of {read:,} tokens of the same prompt were reused.", facts=facts)


async def metrics(settings: EngineSettings) -> Row:
    """Whether it tells what it does, and what that is now."""
    from glm_lsp.cli.engine_top import summary
    from glm_lsp.engine.metrics import Watch

    watch = Watch(settings)
    try:
        view = await watch.look()
    except GlmError as error:
        return Row("metrics", "note", error.message, error.hint, {"offered": False, "code": error.code})
    finally:
        await watch.close()
    facts = {"offered": True, "running": view.running, "waiting": view.waiting, "kv": view.kv}
    facts |= {"reused": view.ever.reused, "first_token_p50_s": view.ever.first_token_p50_s}
    facts |= {"accepted_length": view.ever.accepted_length}
    if view.state == "asleep":
        do = "Wake it with POST /wake_up, which vLLM has with VLLM_SERVER_DEV_MODE=1, or start it anew."
        return Row("metrics", "note", "The engine was put to sleep.", do, facts)
    if view.kv is not None and view.kv > _FULL:
        do = "Fewer turns at a time, or a shorter engine context: see docs/capacity.md."
        return Row("metrics", "note", f"Its KV cache is full. {summary(view)}", do, facts)
    return Row("metrics", "ok", summary(view) or "offered", facts=facts)


_FULL = 0.95
"""Share of the KV cache from which on requests have to make room for one another."""
