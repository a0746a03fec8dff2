"""The tool `git`: what changed, when and by whom.

Never changes anything, never runs a program that the repository's own configuration names, and never shows a secret.
"""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

from glm_lsp.edits.paths import SECRETS
from glm_lsp.errors import BadArguments
from glm_lsp.terms import ToolSpec
from glm_lsp.tools import processes
from glm_lsp.tools.tool import RESULT_LIMIT, Outcome, Tool, ToolContext, parameter, schema

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 20.0
COMMITS = 20
MOST_COMMITS = 200

SUBCOMMANDS: dict[str, tuple[str, ...]] = {
    "status": ("status", "--short", "--branch", "--ignore-submodules=all"),
    "diff": ("diff", "--no-ext-diff", "--no-textconv", "--no-color", "--ignore-submodules=all"),
    "log": ("log", "--no-color", "--no-show-signature", "--date=iso-strict", "--format=%h %ad %an%n    %s"),
    "show": ("show", "--no-color", "--no-show-signature", "--no-ext-diff", "--no-textconv", "--date=iso-strict"),
    "blame": ("blame", "--no-textconv", "--date=short"),
}
"""What may be asked, and the arguments that always go with it."""

_FIXED = (
    ("core.fsmonitor", "false"),
    ("core.hooksPath", os.devnull),
    ("core.untrackedCache", "false"),
    ("core.quotePath", "false"),
    ("log.showSignature", "false"),
    ("protocol.allow", "never"),
    ("submodule.recurse", "false"),
    ("diff.external", ""),
)
"""Settings that a repository must not make for us: most of them name a program to run."""

_REVISION = re.compile(r"[\w.][\w./~^@{}-]*")
_LINES = re.compile(r"\d{1,9},\d{1,9}")


def _title(arguments: dict[str, Any]) -> str:
    asked = [arguments.get(name, "") for name in ("subcommand", "revision", "file_path")]
    return " ".join(["git", *(word for word in asked if word)])


def _run(context: ToolContext, arguments: dict[str, Any]) -> Outcome:
    root = context.draft.jail.root
    try:
        variables = _variables(root)
        ended = processes.run(
            ["git", "--no-pager", "--no-optional-locks", "-C", str(root), *_asked(context, arguments)],
            root,
            variables,
            seconds=SECONDS,
            first=RESULT_LIMIT,
            last=0,
            stop=context.stop,
        )
    except FileNotFoundError:
        return Outcome("refused: no git", "git is not installed here.", ok=False)
    text = ended.output.rstrip()
    if ended.stopped == "output":
        whole = text[: text.rfind("\n")] if "\n" in text else text
        return Outcome("a part", f"{whole}\n[the rest is left out: ask for one file, or for fewer commits]")
    if ended.stopped:
        return Outcome("stopped", f"{text}\n[stopped after {SECONDS:.0f} s]".lstrip(), ok=False)
    if ended.code != 0:
        return Outcome("failed", text or f"git ended with status {ended.code}.", ok=False)
    pending = [change.path for change in context.draft.changes()]
    if pending and arguments["subcommand"] in {"status", "diff", "blame"}:
        text += f"\n[your own edits are not on disk yet, so git does not know of them: {', '.join(pending[:20])}]"
    lines = text.count("\n") + 1 if text else 0
    return Outcome(f"{lines} line{'s' * (lines != 1)}", text or "Nothing.")


def _asked(context: ToolContext, arguments: dict[str, Any]) -> list[str]:
    """The subcommand with its arguments; nothing that the model wrote can be taken for an option.

    Raises:
        BadArguments: a revision or lines of another form, or an argument that the subcommand does not take.
        FileRefused: a path that may not be read.
    """
    name = arguments["subcommand"]
    asked = list(SUBCOMMANDS[name])
    revision, path, lines = (arguments.get(key) for key in ("revision", "file_path", "lines"))
    if revision is not None:
        if name == "status":
            raise BadArguments("git status takes no revision.")
        if not _REVISION.fullmatch(revision):
            raise BadArguments(f"{revision!r} is not a revision.", hint="Such as `HEAD~2`, `main..HEAD` or a hash.")
    if name == "log":
        asked.append(f"--max-count={max(1, min(arguments.get('count', COMMITS), MOST_COMMITS))}")
    if name == "blame":
        if path is None:
            raise BadArguments("git blame needs file_path.")
        if lines is not None:
            if not _LINES.fullmatch(lines):
                raise BadArguments(f"{lines!r} are not lines.", hint="Such as `10,40`.")
            asked += ["-L", lines]
    if revision is not None:
        asked.append(revision)
    asked.append("--")
    if path is not None:
        asked.append(f":(top,literal){context.draft.jail.readable(path)}" if name != "blame" else _plain(context, path))
    elif not context.draft.jail.secrets and name != "blame":
        # `git show` and `git diff` would print what was once committed of them.
        asked += [".", *(f":(exclude,icase,glob)**/{pattern}" for pattern in SECRETS if not pattern.startswith("!"))]
    return asked


def _plain(context: ToolContext, path: str) -> str:
    return f"./{context.draft.jail.readable(path)}"


def _variables(root: Path) -> dict[str, str]:
    """The environment: settings that outrank the repository's, and none that point git elsewhere."""
    kept = {k: v for k, v in processes.environment(os.environ).items() if not k.startswith("GIT_")}
    kept |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C.UTF-8"}
    settings = [*_FIXED, *((name, "") for name in _filters(root, kept))]
    kept["GIT_CONFIG_COUNT"] = str(len(settings))
    for number, (name, value) in enumerate(settings):
        kept[f"GIT_CONFIG_KEY_{number}"], kept[f"GIT_CONFIG_VALUE_{number}"] = name, value
    return kept


def _filters(root: Path, variables: dict[str, str]) -> list[str]:
    """Names of the settings by which the repository itself, not the person, has programs run on its files."""
    pattern = r"^filter\..*\.(clean|smudge|process|required)$"
    listed = subprocess.run(
        ["git", "-C", str(root), "config", "-z", "--includes", "--show-scope", "--name-only", "--get-regexp", pattern],
        capture_output=True,
        check=False,
        env=variables,
        timeout=SECONDS,
    )
    words = os.fsdecode(listed.stdout).split("\0")
    return sorted(
        {name for scope, name in zip(words[::2], words[1::2], strict=False) if scope in {"local", "worktree"}}
    )


TOOL = Tool(
    spec=ToolSpec(
        "git",
        "Asks git about the workspace; it changes nothing. Edits of this turn are not on disk yet: git does not see "
        "them.",
        schema(
            ("subcommand",),
            subcommand=parameter(
                "string",
                "`status`; `diff` of the working tree, or of a revision; `log`; `show` one commit; `blame` one file.",
                enum=list(SUBCOMMANDS),
            ),
            revision=parameter("string", "Such as `HEAD~2`, `main..HEAD` or a hash. Optional."),
            file_path=parameter("string", "Only this file. Needed for `blame`."),
            lines=parameter("string", "For `blame`: first and last line, such as `10,40`. Optional."),
            count=parameter("integer", f"For `log`: how many commits, at most {MOST_COMMITS}. Default: {COMMITS}."),
        ),
    ),
    title=_title,
    run=_run,
    at_once=True,
)
