"""`glm-lsp bug-report`: one zip file with what a developer needs to see, and nothing of yours.

Never puts in it a line of code, a word of a conversation, a value of the environment, a password or an address.

What goes in is chosen piece by piece: a fact that nobody has put on a list here stays out.
At the end all of it is searched for values of the environment, which are taken out once more.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from glm_lsp import __version__
from glm_lsp.errors import GlmError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from glm_lsp.settings import Settings

LOG_LINES = 400

FACTS = {
    "versions": ("glm_lsp", "python", "system"),
    "workspace": ("git", "files"),
    "state": ("free_bytes",),
    "conversations": ("kept", "bytes"),
    "git": ("version",),
    "ripgrep": ("version",),
    "bubblewrap": ("version", "confines"),
    "grammars": ("languages",),
    "engine": ("kind", "version", "profile", "context", "seconds"),
    "tools": ("offered", "parsed"),
    "request": ("seconds", "again_seconds"),
    "thinking": ("thinks", "parsed", "kept"),
    "cache": ("reported", "cached", "read"),
}
"""What is taken over from each check of `glm-lsp doctor`, beside its state and the code of its error."""

WORDS = {"engine.dialect"}
"""Options whose text is one of a few words; of every other text it is only told whether it is set."""

PACKAGES = ("aiohttp", "cattrs", "httptools", "lsprotocol", "mcp", "msgspec", "pygls", "rich", "tree-sitter", "vllm")

_HEADING = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ \d+ [A-Z]+) ([\w.]+): (.*)")
_FRAME = re.compile(r'  File ".*/((?:glm_lsp|site-packages|python\d[\d.]*)/[\w./-]+\.py)", line (\d+), in ([\w<>]+)')
_RAISED = re.compile(r"((?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Refused|Exit|Interrupt|Cancelled)\w*)(?::|$)")


@dataclass(frozen=True, slots=True)
class Part:
    """One file of the report: its name, what it is, and its text."""

    name: str
    what: str
    text: str


@click.command("bug-report")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="The zip file to write.")
@click.option("--root", type=click.Path(path_type=Path), default=Path(), help="A folder in the workspace.")
@click.option("--log", type=click.Path(path_type=Path), help="The server's log, where it is not in the state folder.")
@click.option("--timeout", type=click.FloatRange(1), default=30.0, show_default=True, help="Seconds for the checks.")
def bug_report(output: Path | None, root: Path, log: Path | None, timeout: float) -> int:
    """Write a zip file to add to a report of a fault: versions, checks, redacted settings and log, counts."""
    now = datetime.now(UTC).astimezone()
    target = output or Path(f"glm-lsp-bug-report-{now:%Y%m%d-%H%M%S}.zip")
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder.", hint="Name a folder in the workspace with --root.")
    parts = list(gathered(root, log or _log_file(), timeout))
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise UsageError(f"{target} exists.", hint="Name another file with --output.") from error
    except OSError as error:
        raise UsageError(
            f"{target} cannot be written: {error.strerror}.", hint="Name another with --output."
        ) from error
    with os.fdopen(descriptor, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in parts:
            archive.writestr(part.name, part.text)
    click.echo(f"{target} holds:")
    for part in parts:
        click.echo(f"  {part.name:18} {part.what} ({len(part.text.encode()):,} bytes)")
    click.echo("No code, no words of conversations, no values of the environment are in it. Look for yourself.")
    return 0


def gathered(root: Path, log: Path, seconds: float, *, environment: Mapping[str, str] = os.environ) -> Iterator[Part]:
    """All parts, cleared of whatever the environment or the settings may have left in them."""
    from glm_lsp import settings
    from glm_lsp.index.walk import find_root

    place = find_root(root)
    loaded: Settings | None = None
    fault = ""
    try:
        loaded = settings.load(place, environment=environment)
    except GlmError as error:
        fault = error.code
    clear = _cleared(place, environment)
    pieces: list[tuple[str, str, Callable[[], Any]]] = [
        ("versions.json", "versions of glm-lsp, Python and libraries", _versions),
        ("settings.json", "which options are set; of texts and tables only that they are", lambda: _set(loaded, fault)),
        ("doctor.json", "the state of every check of `glm-lsp doctor`", lambda: _doctor(place, seconds)),
        ("capabilities.json", "what the server says that it can do", lambda: _capabilities(place, seconds)),
        ("state.json", "how many runs and conversations are kept", lambda: _counts(place)),
        ("server.log", f"the last {LOG_LINES} lines of the log, without what errors said", lambda: _log(log)),
    ]
    for name, what, piece in pieces:
        try:
            told = piece()
        except Exception as error:  # noqa: BLE001 - what cannot be told is itself worth telling
            told = {"failed": type(error).__name__, "code": getattr(error, "code", "")}
        text = told if isinstance(told, str) else json.dumps(told, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
        yield Part(name, what, clear(text))


# --- the parts ---------------------------------------------------------------------------------------------------


def _versions() -> dict[str, Any]:
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return {
        "glm-lsp": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": found,
    }


def _set(loaded: Settings | None, fault: str) -> dict[str, Any]:
    """The options that are not as by default, and of each no more than is safe."""
    from glm_lsp.settings import default_of, sections

    if loaded is None:
        return {"unreadable": fault}
    found = {}
    for section, _, options in sections():
        for option in options:
            value, name = getattr(getattr(loaded, section), option.name), f"{section}.{option.name}"
            if value != default_of(option):
                found[name] = _shown(name, value)
    return found


def _shown(name: str, value: object) -> object:
    if isinstance(value, bool | int | float) or value is None or value == "":
        return value
    if name in WORDS and re.fullmatch(r"[a-z]{1,20}", str(value)):
        return value
    if name == "engine.url":
        return _kind_of_address(str(value))
    if isinstance(value, list | tuple | dict):
        return f"{len(value)} set"
    return "set"


def _kind_of_address(url: str) -> str:
    """What kind of address it is: `http on this host`, `https elsewhere`, `unix`, `scripted`."""
    scheme, colon, _ = url.partition(":")
    if not colon or scheme not in {"http", "https", "unix", "scripted"}:
        return "set"
    if not scheme.startswith("http"):
        return scheme
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return scheme
    return f"{scheme} {'on this host' if host in {'localhost', '127.0.0.1', '::1'} else 'elsewhere'}"


def _doctor(root: Path, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "glm_lsp", "doctor", "--json", "--root", str(root), "--timeout", str(seconds)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=seconds + 30)
    checks = json.loads(done.stdout)["checks"]
    return {name: _row(name, row) for name, row in checks.items() if re.fullmatch(r"[a-z_]{1,20}", name)}


def _row(name: str, row: dict[str, Any]) -> dict[str, Any]:
    facts = {key: row["facts"][key] for key in FACTS.get(name, ()) if key in row["facts"]}
    if code := row["facts"].get("code"):
        facts["code"] = code
    return {"state": row["state"]} | facts


def _capabilities(root: Path, seconds: float) -> Any:
    """Starts a server as an editor would, and asks what it can do."""
    asked: list[dict[str, Any]] = [
        {
            "id": 1,
            "method": "initialize",
            "params": {"processId": None, "rootUri": None, "capabilities": {"experimental": {"glm": {"protocol": 1}}}},
        },
        {"id": 2, "method": "shutdown"},
        {"method": "exit"},
    ]
    bodies = [json.dumps({"jsonrpc": "2.0", **message}).encode() for message in asked]
    frames = b"".join(b"Content-Length: %d\r\n\r\n%s" % (len(body), body) for body in bodies)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "glm_lsp", "--stdio", "--log", str(Path(folder) / "log")]
        done = subprocess.run(command, input=frames, capture_output=True, check=False, timeout=seconds, cwd=root)
    rest = done.stdout
    while rest:
        head, _, rest = rest.partition(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length:")[2].split()[0])
        message, rest = json.loads(rest[:size]), rest[size:]
        if message.get("id") == 1:
            return message["result"]["capabilities"]
    return {"failed": "no answer", "exit": done.returncode}


def _counts(root: Path) -> dict[str, Any]:
    from glm_lsp.conversations import Conversations
    from glm_lsp.edits.journal import Journal

    runs = Journal.open(root).runs()
    entries = Conversations.at(root).list()
    return {
        "runs": {state: sum(run.state == state for run in runs) for state in ("applied", "undone", "interrupted")},
        "conversations": len(entries),
        "turns": sum(entry.turns for entry in entries),
        "messages": sum(entry.messages for entry in entries),
        "most messages": max((entry.messages for entry in entries), default=0),
    }


def _log_file() -> Path:
    from glm_lsp.engine.local.places import state_dir

    return state_dir() / "server.log"


def _log(path: Path) -> str:
    """The end of the log: of our own entries the words before a colon, of tracebacks the places and the kind."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
    except FileNotFoundError:
        return "There is no log.\n"
    return "".join(f"{told}\n" for line in lines if (told := _logged(line)))


def _logged(line: str) -> str:
    if entry := _HEADING.fullmatch(line):
        when, name, words = entry.groups()
        return f"{when} {name}: {words.partition(': ')[0][:200] if name.startswith('glm_lsp') else '…'}"
    if frame := _FRAME.fullmatch(line):
        return "  {}:{} in {}".format(*frame.groups())
    if raised := _RAISED.match(line):
        return raised.group(1)
    return ""


# --- the last look -----------------------------------------------------------------------------------------------


def _cleared(root: Path, environment: Mapping[str, str]) -> Callable[[str], str]:
    """Takes values of the environment, and the folders' names, out of a text."""
    folders = {str(root): "<workspace>", str(Path.home()): "~"}
    secret = re.compile(r"KEY|TOKEN|SECRET|PASS|AUTH|CREDENTIAL")
    values = {value for name, value in environment.items() if len(value) >= (4 if secret.search(name.upper()) else 8)}
    found = dict.fromkeys(sorted(values, key=len, reverse=True), "[removed]") | {
        folder: word for folder, word in folders.items() if len(folder) > 1
    }
    spelled = {json.dumps(value, ensure_ascii=False)[1:-1]: word for value, word in found.items()} | found
    ours = {__version__, "utf-8", "utf-16", "utf-32", "true", "false", "null"}

    def clear(text: str) -> str:
        for value, word in spelled.items():
            if value not in ours:
                text = text.replace(value, word)
        return text

    return clear
