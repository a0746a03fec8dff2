"""Every option once: its name, type, default and one sentence; read from files and the environment.

Never asks the engine anything and never takes an address, a key or a command from a file inside a workspace:
such a file may come from a stranger.

Later sources win: defaults, the person's file (`settings.toml` in the configuration folder), the workspace's
`.glm-lsp.toml` (only options marked `workspace`), variables `GLM_LSP_SECTION_NAME`, then what the caller passes.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec

from glm_lsp.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WORKSPACE_FILE = ".glm-lsp.toml"


def option(default: Any, doc: str, *, workspace: bool = False) -> Any:
    """A field of a settings class: its default, one sentence, and whether a workspace's own file may set it."""
    metadata = {"doc": doc, "workspace": workspace}
    if isinstance(default, dict | list):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Which engine, and how to talk to it."""

    url: str = option(
        "", "Address of the engine: `http://host:port` or `unix:/path`; empty for this host's own engine."
    )
    replicas: list[str] = option(
        [],
        "Addresses of several engines that serve the same model, used where `engine.url` is empty: each workspace keeps "
        "to one, and another stands in while that one is down.",
    )
    model: str = option("", "Name of the model; empty for the first one that the engine serves.")
    dialect: str = option("", "Kind of server, such as `vllm`; empty to find out.")
    api_key_env: str = option("GLM_LSP_API_KEY", "Name of the environment variable that holds the API key.")
    api_key_command: list[str] = option(
        [],
        'Command that prints the API key, as a list of words, such as `["pass", "glm"]`; it comes before the others.',
    )
    api_key_keyring: str = option(
        "", "Entry of the system's keyring that holds the API key, as `service/user`; it comes before the variable."
    )
    ca_file: str = option("", "File with certificates of your own authorities, trusted besides the system's.")
    discover: bool = option(
        False,
        "Whether a server that listens on this host is used where no address is set; your code then goes to whatever "
        "listens on the usual ports. `glm-lsp engine find` shows what does.",
    )
    extra_body: dict[str, Any] = option({}, "Fields added to the body of every request, as they are.")
    priority: int = option(
        0,
        "Priority of requests, lower first; 0 for what fits: 0 where a person waits, 5 for other agents, 10 where nobody "
        "does.",
    )
    max_requests: int = option(
        0,
        "Requests that all your processes on this host have at the engine at a time, the others line up; 0 for one less "
        "than this host's own engine was started for with `--max-num-seqs`, else for no limit.",
    )
    connect_timeout: float = option(5.0, "Seconds to wait for a connection.")
    first_token_timeout: float = option(600.0, "Seconds to wait for the first token: a long prompt is read first.")
    stall_timeout: float = option(120.0, "Seconds of silence after the first token that count as a stall.")
    retries: int = option(2, "How often a request is tried again when it failed before its first token.")
    python: str = option("", "Python interpreter that has vLLM, for the local engine; empty to look for one.")
    start: str = option(
        "never",
        "Whether this host's own engine is started where it is wanted and does not run, as by `glm-lsp engine start`: "
        "`auto` or `never`. Nothing is installed for that.",
    )
    start_options: list[str] = option(
        [],
        'Options that `glm-lsp engine start` always has, such as `["--model", "/models/glm-4.7-fp8"]`; those on the '
        "command line come after them.",
    )
    start_seconds: float = option(
        900.0, "Seconds that a request waits for this host's own engine while it starts, restarts or wakes up."
    )
    restarts: int = option(5, "How often in a row this host's own engine is started again before it is given up.")
    hang_seconds: float = option(
        120.0, "Seconds without an answer or any progress after which this host's own engine is started again."
    )
    drain_seconds: float = option(
        60.0, "Seconds that running requests are given when this host's own engine is stopped."
    )
    idle_stop: float = option(
        0.0, "Minutes without a request after which this host's own engine is stopped; 0 for never."
    )
    idle_sleep: float = option(
        0.0,
        "Minutes without a request after which this host's own engine gives its GPUs' memory back and sleeps until the "
        "next; 0 for never.",
    )


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """How long a turn may go on."""

    max_steps: int = option(60, "Engine requests in one turn.", workspace=True)
    max_seconds: float = option(1800.0, "Seconds that one turn may take.", workspace=True)
    max_new_tokens: int = option(200_000, "New tokens in one turn, over all its requests.", workspace=True)
    repairs: int = option(
        3, "How often a broken proposal or a failed verification goes back to the model.", workspace=True
    )
    same_call_limit: int = option(3, "Identical calls with identical results that end a turn.", workspace=True)
    idle_steps: int = option(
        8, "Requests in a row whose calls were all refused or brought nothing new, that end a turn.", workspace=True
    )
    thinking_tokens: int = option(0, "Tokens of thinking before one reply at most; 0 for no limit.", workspace=True)


@dataclass(frozen=True, slots=True)
class PromptSettings:
    """What the model reads besides what is asked."""

    instructions: str = option("", "Your own standing instructions, read at the start of every conversation.")
    instruction_files: list[str] = option(
        ["AGENTS.md"],
        "Names of files with a project's instructions: the one at the root is read at the start of a conversation, "
        "one in a folder with the first file asked about there.",
    )
    compact_at: float = option(
        0.8, "Share of the model's context at which a conversation is made shorter; 0 for never.", workspace=True
    )


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """What is known of the workspace's code before anybody asks."""

    enabled: bool = option(True, "Whether the workspace is indexed; without it the model finds things by its tools.")
    exclude: list[str] = option([], "Patterns, as in .gitignore, of files to leave out of the index.", workspace=True)
    max_file_bytes: int = option(
        400_000, "Files larger than this are searched by their words only, not parsed.", workspace=True
    )
    workers: int = option(
        0, "Processes that parse files, at the lowest priority; 0 for as many as there are cores, at most 16."
    )
    symbols: bool = option(
        False, "Whether editors get workspace and document symbols from the index, beside other servers' answers."
    )
    context_tokens: int = option(
        8_000, "Tokens of code that are chosen for a question which names no files; 0 for none.", workspace=True
    )
    map_tokens: int = option(
        2_000, "Tokens of the map of the workspace at the start of a conversation; 0 for none.", workspace=True
    )
    ask_model: bool = option(
        False,
        "Whether the model is asked first, in one short request, what to look for, where it thinks before it answers.",
    )


@dataclass(frozen=True, slots=True)
class EditSettings:
    """What may be edited."""

    protected: list[str] = option([], "Patterns, as in .gitignore, of files never to be written.", workspace=True)
    allow_ignored: bool = option(False, "Whether files that git ignores may be read and edited.")
    allow_secrets: bool = option(False, "Whether files that look like secrets (`.env`, keys) may be read and edited.")
    max_file_bytes: int = option(
        4_000_000, "Files larger than this are not read into a prompt or edited.", workspace=True
    )


@dataclass(frozen=True, slots=True)
class ToolSettings:
    """What the model's commands may do; none of it is for a workspace to say."""

    commands: list[str] = option(
        [],
        "Commands that the model may run unasked: the exact command, or its first words and ` *` for any plain "
        "arguments, such as `pytest *`.",
    )
    command_seconds: float = option(300.0, "Seconds that one command of the model's may take.")
    command_megabytes: int = option(16_384, "Address space of each of a command's processes; 0 for no limit.")
    readable_folders: list[str] = option(
        [], "Folders in the home folder that a confined command may read, such as `~/.cargo`."
    )


class McpServer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One MCP server, which is either a program that we start (`command`) or one at an address (`url`).

    `${NAME}` in `args`, `env`, `url` and `headers` stands for a variable of the environment, so that passwords need
    not be in the file, and `${workspace}` for the workspace's root.

    Attributes:
        command: the program; it speaks over standard input and output.
        args: its arguments.
        env: variables that it gets beside the few that every program needs.
        cwd: the folder it runs in, from the workspace's root; without it the home folder, since programs such as `npx`
            run what they find where they are, and a workspace may come from a stranger.
        url: the address of a server that speaks streamable HTTP.
        headers: sent with every request.
        tools: patterns, such as `search_*`, of those of its tools that the model is offered.
        allow: patterns of those that may run unasked.
        enabled: whether it is used at all.
        connect_seconds: how long it may take until its tools are known.
        call_seconds: how long one call may take.
    """

    command: str = ""
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    cwd: str = ""
    url: str = ""
    headers: dict[str, str] = {}
    tools: tuple[str, ...] = ("*",)
    allow: tuple[str, ...] = ()
    enabled: bool = True
    connect_seconds: float = 30.0
    call_seconds: float = 120.0

    def __post_init__(self) -> None:
        """Raises ValueError for what does not go together."""
        if bool(self.command) == bool(self.url):
            raise ValueError("It needs either `command` or `url`")
        alien = [name for name in ("args", "env", "cwd") if getattr(self, name)] if self.url else []
        alien += ["headers"] if self.command and self.headers else []
        if alien:
            raise ValueError(f"`{alien[0]}` does not go with `{'url' if self.url else 'command'}`")
        if self.url and not self.url.startswith(("http://", "https://", "${")):
            raise ValueError("`url` begins with `http://` or `https://`")
        if not (self.connect_seconds > 0 and self.call_seconds > 0):
            raise ValueError("A time limit is more than 0 seconds")


@dataclass(frozen=True, slots=True)
class McpSettings:
    """Servers with further tools for the model; none of it is for a workspace to say."""

    servers: dict[str, McpServer] = option(
        {},
        "MCP servers by name, one table `[mcp.servers.NAME]` each, with `command` or `url`; see [MCP servers](mcp.md).",
    )


@dataclass(frozen=True, slots=True)
class ActionSettings:
    """What a person is offered to ask; none of it is for a workspace to say."""

    folder: str = option(
        "", "Folder of your own actions, a prompt file each; empty for `actions/` beside your `settings.toml`."
    )
    off: list[str] = option([], "Ids of actions that are not offered in the editor's menu.")


@dataclass(frozen=True, slots=True)
class EditorSettings:
    """How editors are served; none of it is for a workspace to say."""

    waits: list[str] = option(
        [],
        "Beginnings of the names of further editors that wait for the change of a code action; VS Code, Neovim and "
        "Sublime Text are known to, and all others go on and get it when it is done.",
    )
    wait_seconds: float = option(
        20.0, "Seconds that an editor which waits for the change of a code action does so at most; 0 for never."
    )
    rename_imports: bool = option(
        False,
        "Whether import statements are changed when you rename a file in the editor; leave it off where another "
        "server, such as Pyright or the one for TypeScript, does that.",
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """All options, by section."""

    engine: EngineSettings = field(default_factory=EngineSettings)
    turn: TurnSettings = field(default_factory=TurnSettings)
    prompt: PromptSettings = field(default_factory=PromptSettings)
    index: IndexSettings = field(default_factory=IndexSettings)
    edits: EditSettings = field(default_factory=EditSettings)
    tools: ToolSettings = field(default_factory=ToolSettings)
    mcp: McpSettings = field(default_factory=McpSettings)
    actions: ActionSettings = field(default_factory=ActionSettings)
    editor: EditorSettings = field(default_factory=EditorSettings)


def sections() -> Iterator[tuple[str, type, tuple[Field[Any], ...]]]:
    """Yields every section's name, class and fields, in order; what documentation is generated from."""
    hints = get_type_hints(Settings)
    for section in fields(Settings):
        yield section.name, hints[section.name], fields(hints[section.name])


def default_of(option_field: Field[Any]) -> Any:
    """The default of one option."""
    return option_field.default_factory() if option_field.default_factory is not MISSING else option_field.default


def user_file() -> Path:
    """Where the person's own settings live."""
    import platformdirs  # noqa: PLC0415 - costs start-up time that `--version` need not pay

    return Path(platformdirs.user_config_dir("glm-lsp")) / "settings.toml"


def load(
    workspace: Path | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Merges all sources into one Settings.

    Args:
        workspace: the workspace's root, whose `.glm-lsp.toml` is read too.
        environment: where `GLM_LSP_ENGINE_URL` and its like come from.
        overrides: dotted names (`engine.url`) to values, from the caller.

    Raises:
        SettingsError: a file that cannot be read or an option that does not fit, with its place and what would.
    """
    merged: dict[str, dict[str, Any]] = {}
    _merge(merged, _read(user_file()), source=str(user_file()), workspace=False)
    if workspace is not None:
        _merge(merged, _read(workspace / WORKSPACE_FILE), source=WORKSPACE_FILE, workspace=True)
    _merge(merged, _from_environment(environment), source="the environment", workspace=False)
    for name, value in (overrides or {}).items():
        section, _, key = name.partition(".")
        _merge(merged, {section: {key: value}}, source=f"option {name}", workspace=False)
    return Settings(**{name: cls(**merged.get(name, {})) for name, cls, _ in sections()})


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}.", hint="Mend the file or move it away.") from error


def _from_environment(environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for section, cls, options in sections():
        hints = get_type_hints(cls)
        for opt in options:
            name = f"GLM_LSP_{section}_{opt.name}".upper()
            text = environment.get(name)
            if text is None:
                continue
            if hints[opt.name] is str:
                found.setdefault(section, {})[opt.name] = text
                continue
            try:
                found.setdefault(section, {})[opt.name] = json.loads(text)
            except json.JSONDecodeError as error:
                hint = f"It takes a JSON value, such as {json.dumps(default_of(opt))}."
                raise SettingsError(f"{name}={text!r} is not a JSON value.", hint=hint) from error
    return found


def _merge(merged: dict[str, dict[str, Any]], new: Mapping[str, Any], *, source: str, workspace: bool) -> None:
    known = {name: (cls, {o.name: o for o in options}) for name, cls, options in sections()}
    for section, values in new.items():
        if section not in known:
            raise SettingsError(f"{source}: there is no section [{section}].", hint=_nearest(section, known))
        if not isinstance(values, dict):
            raise SettingsError(f"{source}: [{section}] is a section, not a value.")
        cls, options = known[section]
        hints = get_type_hints(cls)
        for key, value in values.items():
            if key not in options:
                raise SettingsError(f"{source}: there is no option {section}.{key}.", hint=_nearest(key, options))
            if workspace and not options[key].metadata["workspace"]:
                raise SettingsError(
                    f"{source}: {section}.{key} may not be set by a workspace.",
                    hint=f"Set it in {user_file()} or in the environment.",
                )
            merged.setdefault(section, {})[key] = _fit(value, hints[key], f"{source}: {section}.{key}")


def _fit(value: Any, kind: Any, where: str) -> Any:
    if kind == dict[str, McpServer] and isinstance(value, dict):
        return {name: _server(one, f"{where}.{name}") for name, one in value.items()}
    try:
        fitted = msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{where} is {value!r}: {str(error).lower()}.") from error
    if isinstance(fitted, int | float) and not isinstance(fitted, bool) and fitted < 0 and "priority" not in where:
        raise SettingsError(f"{where} is {value!r}: it cannot be negative.")
    return fitted


def _server(value: Any, where: str) -> McpServer:
    """One MCP server; errors do not show what was given, since there may be passwords in it."""
    if isinstance(value, dict):
        known = dict.fromkeys(McpServer.__struct_fields__)
        unknown = [key for key in value if key not in known]
        if unknown:
            raise SettingsError(f"{where}: there is no option {unknown[0]}.", hint=_nearest(unknown[0], known))
    try:
        return msgspec.convert(value, McpServer, strict=True)
    except msgspec.ValidationError as error:
        words, _, place = str(error).partition(" - at `$")
        option_name = place.strip("`").removeprefix(".").partition("[")[0]
        raise SettingsError(
            f"{where}{f'.{option_name}' if option_name else ''}: {words[:1].lower()}{words[1:]}."
        ) from error


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}."


def as_table() -> list[tuple[str, str, str, str]]:
    """Rows of name, type, default and sentence for every option, for documentation and `--help`."""
    rows = []
    for section, cls, options in sections():
        assert is_dataclass(cls)  # noqa: S101 - for the type checker
        hints = get_type_hints(cls)
        for opt in options:
            kind = getattr(hints[opt.name], "__name__", str(hints[opt.name]))
            rows.append((f"{section}.{opt.name}", kind, json.dumps(default_of(opt)), str(opt.metadata["doc"])))
    return rows
