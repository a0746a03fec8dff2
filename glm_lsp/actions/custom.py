"""The person's own actions: a folder of prompt files, a Markdown file each.

Never fails for a file that is broken: it says so in a note, and offers the others.

A file begins with what is known of the action, between two lines of `---`, and goes on with what the model is told:

    ---
    title: Log what it does
    kind: refactor.rewrite
    thinking: off
    applies: Python, *.ts
    ---
    Add log messages where this code decides something. Use the project's logger.

Its name is the action's id. Everything between the lines may be left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pathspec

from glm_lsp.actions.action import Action
from glm_lsp.languages import LANGUAGES
from glm_lsp.settings import user_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    from glm_lsp.actions.place import Place
    from glm_lsp.settings import ActionSettings

WORKSPACE_FOLDER = ".glm-lsp/actions"
"""Where a workspace keeps prompt files; read only where the workspace is trusted, since they come from strangers."""

MOST_FILES = 100
MOST_BYTES = 32_000

_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_KIND = re.compile(r"(?:quickfix|refactor|source)(?:\.[A-Za-z0-9_]+)*")
_SWITCH = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}
_SWITCHES = ("thinking", "edits", "asks")
_KEYS = ("title", "kind", "applies", *_SWITCHES)


@dataclass(frozen=True, slots=True)
class Custom:
    """What was found: the actions, and a note for each file that is not one, or not all that it says."""

    actions: tuple[Action, ...] = ()
    notes: tuple[str, ...] = ()


def read(settings: ActionSettings, root: Path | None, *, trusted: bool, taken: Iterable[str]) -> Custom:
    """Reads the person's folder, then that of the workspace where it is trusted; of two with one id the first counts.

    Args:
        settings: where the person's folder is.
        root: the workspace's root; None for none.
        trusted: whether the person trusts the workspace.
        taken: ids that are given already.
    """
    own = Path(settings.folder).expanduser() if settings.folder else user_file().parent / "actions"
    folders = [(own, False)]
    if trusted and root is not None:
        folders.append((root / WORKSPACE_FOLDER, True))
    actions: dict[str, Action] = {}
    notes: list[str] = []
    given = set(taken)
    for folder, foreign in folders:
        for path in _files(folder, notes, foreign=foreign):
            name = path.stem.lower()
            if not _ID.fullmatch(name):
                notes.append(f"{path}: an action's file is named with letters, digits, `-` and `_`.")
            elif name in given or name in actions:
                notes.append(f"{path}: there is an action {name} already; give the file another name.")
            elif (action := _action(path, name, notes)) is not None:
                actions[name] = action
    return Custom(tuple(actions.values()), tuple(notes))


def _files(folder: Path, notes: list[str], *, foreign: bool) -> list[Path]:
    """The prompt files of a folder, sorted; a stranger's may not be links, which could lead to anything."""
    try:
        if foreign and (folder.is_symlink() or folder.parent.is_symlink()):
            notes.append(f"{folder} is a link, and is not followed.")
            return []
        found = sorted(path for path in folder.iterdir() if path.suffix == ".md")
    except FileNotFoundError:
        return []
    except OSError as error:
        notes.append(f"{folder} cannot be read: {error.strerror}.")
        return []
    if len(found) > MOST_FILES:
        notes.append(f"{folder} has {len(found)} files; the first {MOST_FILES} are read.")
    return [path for path in found[:MOST_FILES] if path.is_file() and not (foreign and path.is_symlink())]


def _action(path: Path, name: str, notes: list[str]) -> Action | None:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        notes.append(f"{path} cannot be read: {error.strerror}.")
        return None
    except UnicodeDecodeError:
        notes.append(f"{path} is not UTF-8.")
        return None
    if len(data) > MOST_BYTES:
        notes.append(f"{path} is longer than {MOST_BYTES:,} bytes.")
        return None
    head, body = _parts(text)
    if head is None:
        notes.append(f"{path}: the part that begins with `---` does not end with such a line.")
        return None
    if not body:
        notes.append(f"{path} says nothing to the model: what it shall do stands below the second `---`.")
        return None
    known = {key: value for key, value in head.items() if key in _KEYS}
    notes += [f"{path}: there is no `{key}`; there are: {', '.join(_KEYS)}." for key in head if key not in known]
    for key in _SWITCHES:
        if key in known and known[key].lower() not in _SWITCH:
            notes.append(f"{path}: `{key}` is `on` or `off`.")
            del known[key]
    if not _KIND.fullmatch(known.get("kind", "refactor")):
        notes.append(f"{path}: `kind` begins with quickfix, refactor or source; it counts as refactor.rewrite.")
        del known["kind"]
    title = known.get("title") or name.replace("_", " ").replace("-", " ").capitalize()
    wanted = tuple(part for part in re.split(r"[,\s]+", known.get("applies", "").strip("[]")) if part)
    wanted = tuple(part.strip("\"'") for part in wanted)
    return Action(
        id=name,
        title=title,
        kind=known.get("kind", "refactor.rewrite"),
        thinking=_SWITCH[known.get("thinking", "on").lower()],
        preset="coding",
        guidance=body,
        needs_instruction=_SWITCH[known.get("asks", "off").lower()],
        applies=partial(_applies, title, wanted),
        edits=_SWITCH[known.get("edits", "on").lower()],
    )


def _parts(text: str) -> tuple[dict[str, str] | None, str]:
    """What stands between the lines of `---`, by its keys, and what comes after; None where the second is missing."""
    if not text.startswith("---\n"):
        return {}, text.strip()
    head, end, body = text.removeprefix("---").partition("\n---\n") if "\n---\n" in text[3:] else (text, "", "")
    if not end:
        return None, ""
    pairs = (line.partition(":") for line in head.split("\n") if line.strip() and not line.lstrip().startswith("#"))
    return {key.strip().lower(): value.strip().strip("\"'") for key, _, value in pairs}, body.strip()


def _applies(title: str, wanted: tuple[str, ...], place: Place) -> str | None:
    if not wanted:
        return title
    language = place.row.name.lower() if place.row is not None else ""
    patterns = [part for part in wanted if part.lower() not in _LANGUAGES]
    if language and language in {part.lower() for part in wanted}:
        return title
    return title if patterns and pathspec.GitIgnoreSpec.from_lines(patterns).match_file(place.path) else None


_LANGUAGES = frozenset(language.name.lower() for language in LANGUAGES)
