"""From before and after to what people read: hunks, and patches that `git apply` takes.

Never decides what changes; it only shows it.
"""

from __future__ import annotations

import hashlib
import zlib
from base64 import b85encode
from bisect import bisect_left
from collections import Counter
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from glm_lsp.edits.text import Text
from glm_lsp.terms import FileChange, Hunk

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

Block = tuple[int, int, int, int]
"""Items `i1:i2` of the one side became items `j1:j2` of the other."""


def hunks(path: str, before: str, after: str, context: int = 3) -> tuple[Hunk, ...]:
    r"""What changed between two texts, one hunk for each run of changed lines.

    Lines end at `\n`, `\r\n` and `\r`; a line whose terminator alone changed counts as changed.
    """
    old, new = Text(before), Text(after)
    a, b = old.lines(), new.lines()
    blocks = changed(
        list(zip(a, old.terminators(), strict=True)),
        list(zip(b, new.terminators(), strict=True)),
    )
    return tuple(
        Hunk(
            path,
            i1 + 1,
            j1 + 1,
            tuple(a[i1:i2]),
            tuple(b[j1:j2]),
            tuple(a[max(0, i1 - context) : i1]),
            tuple(a[i2 : i2 + context]),
        )
        for i1, i2, j1, j2 in blocks
    )


def unified(change: FileChange, context: int = 3) -> str:
    r"""The change as a patch that `git apply` takes; empty where nothing changed.

    Lines are those of git, which end at `\n` only.
    Bytes that are not UTF-8 come as surrogate escapes: write the patch with `errors="surrogateescape"`.
    Content with NUL bytes (binary, UTF-16) becomes a binary patch.
    The mode is told for new files only, since the old mode of others is not known here.
    """
    before, after = change.before, change.after
    if before == after:
        return ""
    a, b = _quoted("a/" + change.path), _quoted("b/" + change.path)
    head = [f"diff --git {a} {b}"]
    if before is None:
        head.append(f"new file mode {'100755' if (change.mode or 0) & 0o111 else '100644'}")
    if after is None:
        head.append("deleted file mode 100644")
    old, new = before or b"", after or b""
    if b"\0" in old or b"\0" in new:
        head.append(f"index {_blob(before)}..{_blob(after)}")
        head += ["GIT binary patch", *_literal(new), "", *_literal(old), ""]
        return "\n".join(head) + "\n"
    if old == new:  # an empty file comes or goes
        head.append(f"index {_blob(before)}..{_blob(after)}")
        return "\n".join(head) + "\n"
    tab = "\t" if " " in change.path else ""  # git ends a name with a space in it so
    head.append("--- /dev/null" if before is None else f"--- {a}{tab}")
    head.append("+++ /dev/null" if after is None else f"+++ {b}{tab}")
    return "\n".join(head) + "\n" + _body(_git_lines(old), _git_lines(new), context)


def counts(changes: Iterable[FileChange]) -> tuple[int, int]:
    """Lines added and lines removed by the changes, as git counts them; binary content counts as none."""
    added = removed = 0
    for change in changes:
        old, new = change.before or b"", change.after or b""
        if b"\0" in old or b"\0" in new:
            continue
        for i1, i2, j1, j2 in changed(_git_lines(old), _git_lines(new)):
            removed += i2 - i1
            added += j2 - j1
    return added, removed


def changed(old: Sequence[Hashable], new: Sequence[Hashable]) -> list[Block]:
    """The runs of items in which two sequences differ, in order, never touching each other.

    Common ends are cut off first, then the gaps between items that are unique on both sides are compared on their own,
    so that long files with many changes stay fast; a large gap without such items becomes one run.
    """
    found: list[Block] = []
    work = [(0, len(old), 0, len(new))]
    while work:
        i1, i2, j1, j2 = work.pop()
        while i1 < i2 and j1 < j2 and old[i1] == new[j1]:
            i1, j1 = i1 + 1, j1 + 1
        while i1 < i2 and j1 < j2 and old[i2 - 1] == new[j2 - 1]:
            i2, j2 = i2 - 1, j2 - 1
        if i1 == i2 and j1 == j2:
            continue
        if i1 == i2 or j1 == j2:
            found.append((i1, i2, j1, j2))
        elif (i2 - i1) * (j2 - j1) <= _SMALL:
            matcher = SequenceMatcher(None, old[i1:i2], new[j1:j2], autojunk=False)
            found += [
                (i1 + a1, i1 + a2, j1 + b1, j1 + b2) for tag, a1, a2, b1, b2 in matcher.get_opcodes() if tag != "equal"
            ]
        elif pairs := _unique_pairs(old, new, (i1, i2, j1, j2)):
            ends = [*pairs, (i2, j2)]
            starts = [(i1, j1), *((i + 1, j + 1) for i, j in pairs)]
            work += [(s[0], e[0], s[1], e[1]) for s, e in zip(starts, ends, strict=True)]
        else:
            found.append((i1, i2, j1, j2))
    return _joined(sorted(found))


_SMALL = 20_000  # pairs of items that the quadratic comparison may look at


def _unique_pairs(old: Sequence[Hashable], new: Sequence[Hashable], block: Block) -> list[tuple[int, int]]:
    """Items that occur once on both sides, as many as stand in the same order on both (patience diff)."""
    i1, i2, j1, j2 = block
    once = {item for item, count in Counter(new[j1:j2]).items() if count == 1}
    place = {item: j for j, item in enumerate(new[j1:j2], j1) if item in once}
    often = Counter(old[i1:i2])
    pairs = [(i, place[item]) for i, item in enumerate(old[i1:i2], i1) if item in once and often[item] == 1]
    tails: list[int] = []  # the smallest last position of an increasing run, by its length
    at: list[int] = []
    back: list[int] = []
    for index, (_, j) in enumerate(pairs):
        length = bisect_left(tails, j)
        back.append(at[length - 1] if length else -1)
        tails[length : length + 1] = [j]
        at[length : length + 1] = [index]
    run: list[tuple[int, int]] = []
    index = at[-1] if at else -1
    while index >= 0:
        run.append(pairs[index])
        index = back[index]
    return run[::-1]


def _joined(blocks: list[Block]) -> list[Block]:
    joined: list[Block] = []
    for block in blocks:
        if joined and joined[-1][1] == block[0] and joined[-1][3] == block[2]:
            joined[-1] = (joined[-1][0], block[1], joined[-1][2], block[3])
        else:
            joined.append(block)
    return joined


def _git_lines(data: bytes) -> list[str]:
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    return [*(f"{line}\n" for line in lines[:-1]), *lines[-1:]] if lines[-1] else [f"{line}\n" for line in lines[:-1]]


def _body(old: list[str], new: list[str], context: int) -> str:
    groups: list[list[Block]] = []
    for block in changed(old, new):
        if groups and block[0] - groups[-1][-1][1] <= 2 * context:
            groups[-1].append(block)
        else:
            groups.append([block])
    out: list[str] = []
    for group in groups:
        i1, j1 = max(0, group[0][0] - context), max(0, group[0][2] - context)
        i2, j2 = min(len(old), group[-1][1] + context), min(len(new), group[-1][3] + context)
        out.append(f"@@ -{_range(i1, i2)} +{_range(j1, j2)} @@\n")
        for a1, a2, b1, b2 in group:
            out += [_line(" ", line) for line in old[i1:a1]]
            out += [_line("-", line) for line in old[a1:a2]]
            out += [_line("+", line) for line in new[b1:b2]]
            i1 = a2
        out += [_line(" ", line) for line in old[i1:i2]]
    return "".join(out)


def _range(start: int, end: int) -> str:
    count = end - start
    return f"{start + 1}" if count == 1 else f"{start + 1 if count else start},{count}"


def _line(sign: str, line: str) -> str:
    return f"{sign}{line}" if line.endswith("\n") else f"{sign}{line}\n\\ No newline at end of file\n"


def _quoted(path: str) -> str:
    """A path as git writes it by default: quoted where it holds quotes, backslashes, controls or non-ASCII bytes."""
    escapes = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}
    data = path.encode("utf-8", "surrogateescape")
    written = "".join(escapes.get(c, chr(c) if 32 <= c < 127 else f"\\{c:03o}") for c in data)
    return path if written == path else f'"{written}"'


def _blob(data: bytes | None) -> str:
    if data is None:
        return "0" * 40
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _literal(data: bytes) -> list[str]:
    """The content in git's binary patch form: deflated, 52 bytes a line, each line led by its length."""
    packed = zlib.compress(data)
    rows = [packed[i : i + 52] for i in range(0, len(packed), 52)]
    sizes = [chr(64 + len(row)) if len(row) <= 26 else chr(70 + len(row)) for row in rows]  # A to Z, then a to z
    return [
        f"literal {len(data)}",
        *(size + b85encode(row, pad=True).decode("ascii") for size, row in zip(sizes, rows, strict=True)),
    ]
