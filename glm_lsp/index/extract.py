"""What a worker process does: reads files, and says which words and which definitions they have.

Never runs in the server itself but for a few words: a grammar may crash or hang, and then only a worker is lost.

The parent asks over standard input and is answered over standard output, a frame each: its length in four bytes, then
MessagePack. Each file has a time limit that the system enforces, since a grammar that hangs cannot be interrupted.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import importlib
import os
import stat
import struct
import sys
from typing import TYPE_CHECKING, BinaryIO, Protocol

import msgspec

from glm_lsp.index import uses
from glm_lsp.index.kinds import LARGEST, Kind, by_name, kind_of

if TYPE_CHECKING:
    from glm_lsp.languages.facts import Facts

UNWATCHED = 200_000
"""Bytes up to which nothing but the worker's own time limit ends a parse."""

Row = tuple[str, str, str, int, int, int, int, str, str]
"""A definition's fields, in their order."""


class Job(msgspec.Struct, frozen=True, array_like=True):
    """Files to read.

    Attributes:
        tier: 0 for words, 1 for definitions.
        root: the workspace's real path.
        paths: relative to it.
        expected: for tier 1 the content's id of each; a file that has become another one is not parsed.
        seconds: what one file may take.
        texts: for tier 1 of open buffers, their texts in UTF-8, to be parsed in the place of what the disk has.
    """

    tier: int
    root: bytes
    paths: tuple[bytes, ...]
    expected: tuple[bytes, ...] = ()
    seconds: float = 10.0
    texts: tuple[bytes, ...] = ()


class Words(msgspec.Struct, frozen=True, array_like=True):
    """What tier 0 says of a file: `why` tells what stood in the way, and is empty where nothing did.

    `oid` is the SHA-1 that git would give the bytes, `changed` the file's change time in nanoseconds; `terms`, `counts`
    and `total` are what `words.counts` gives. `hopeless` where the file ended its reader, and would do so again.
    """

    why: str = ""
    oid: bytes = b""
    size: int = 0
    changed: int = 0
    kind: int = 0
    terms: bytes = b""
    counts: bytes = b""
    total: int = 0
    hopeless: bool = False


class Parsed(msgspec.Struct, frozen=True, array_like=True):
    """What tier 1 says of a content; `changed` where the file is not that content any more.

    `uses` is as of `uses.packed`; of a text that is typed, the mapping in MessagePack.
    """

    why: str = ""
    changed: bool = False
    definitions: tuple[Row, ...] = ()
    uses: bytes = b""
    imports: tuple[str, ...] = ()


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """The answer to a job, an entry for each of its files."""

    words: tuple[Words, ...] = ()
    parsed: tuple[Parsed, ...] = ()


class Unreadable(Exception):
    """A file that cannot be read, or is none; says why."""


def read_words(root: bytes, path: bytes) -> Words:
    """Reads a file for its words; what stands in the way is said in the answer."""
    from glm_lsp.index import words  # noqa: PLC0415 - only who reads files pays for it

    try:
        data, info = read(root, path)
    except Unreadable as error:
        return Words(why=str(error))
    changed = info.st_ctime_ns
    name = os.fsdecode(path)
    if data is None:
        kind = Kind.BINARY if by_name(name) is Kind.BINARY else Kind.HUGE
        return Words(oid=stand_in_id(path, info), size=info.st_size, changed=changed, kind=kind)
    kind = kind_of(name, data)
    terms, counts, total = words.counts(data) if kind.has_words else (b"", b"", 0)
    return Words("", blob_id(data), len(data), changed, kind, terms, counts, total)


def read_facts(root: bytes, path: bytes, expected: bytes, seconds: float) -> Parsed:
    """Reads and parses a file; what stands in the way is said in the answer."""
    try:
        data, _ = read(root, path)
    except Unreadable:
        return Parsed(changed=True)
    if data is None or blob_id(data) != expected:
        return Parsed(changed=True)
    return parse(path, decoded(data), seconds)


def parse(path: bytes, text: str, seconds: float, *, typed: bool = False) -> Parsed:
    """Parses a text, `typed` after one of the same path that differs a little; what stands in the way is said."""
    try:
        found = _found(os.fsdecode(path), text, seconds / 2, typed=typed)
    except MemoryError:
        return Parsed(why="parsing it takes too much memory")
    except Exception as error:  # noqa: BLE001 - a fault in one language's rules must not end the others
        return Parsed(why=f"parsing it failed ({type(error).__name__}: {str(error)[:100]})")
    return Parsed(why="its parser gave up") if found is None else found


def _found(path: str, text: str, seconds: float, *, typed: bool) -> Parsed | None:
    if typed:
        facts = _typed()(path, text, seconds=seconds)
        if facts is None:
            return None
        rows = tuple(
            (d.name, d.qualified, d.kind, d.first_line, d.last_line, d.line, d.column, d.signature, d.doc)
            for d in facts.definitions
        )
        return Parsed("", False, rows, msgspec.msgpack.encode(facts.uses), tuple(facts.imports))
    from glm_lsp.languages.facts import found_in  # noqa: PLC0415 - only workers pay for it

    found = found_in(path, text, seconds=seconds, unwatched=UNWATCHED)
    if found is None:
        return None
    return Parsed("", False, tuple(found.definitions), uses.packed(found.uses), found.imports)


def read(root: bytes, path: bytes) -> tuple[bytes | None, os.stat_result]:
    """The bytes of a regular file, None for one past all measure; raises Unreadable."""
    try:
        # Not blocking: a path may have become a pipe that nobody writes to.
        handle = os.open(os.path.join(root, path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)  # noqa: PTH118 - bytes
    except OSError as error:
        raise Unreadable(error.strerror or "it cannot be opened") from error
    try:
        info = os.fstat(handle)
        if not stat.S_ISREG(info.st_mode):
            raise Unreadable("it is not a file")
        if info.st_size > LARGEST:
            return None, info
        parts, room = [], LARGEST + 1
        while room and (part := os.read(handle, min(room, 1 << 20))):
            parts.append(part)
            room -= len(part)
    except OSError as error:
        raise Unreadable(error.strerror or "it cannot be read") from error
    finally:
        os.close(handle)
    return (b"".join(parts) if room else None), info


def decoded(data: bytes) -> str:
    """The text of a file, with a sign in the place of each byte that is none."""
    return data.decode("utf-8", "replace").removeprefix("\ufeff")


def blob_id(data: bytes) -> bytes:
    """The id that git gives these bytes, in a repository of SHA-1 and without filters."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).digest()


def stand_in_id(path: bytes, info: os.stat_result) -> bytes:
    """An id for what is not read, of its name, size and time; no content has it."""
    return hashlib.sha1(b"%s %d %d" % (path, info.st_size, info.st_ctime_ns), usedforsecurity=False).digest()


class _Facts(Protocol):
    def __call__(self, path: str, text: str, *, seconds: float) -> Facts | None: ...


@functools.cache
def _typed() -> _Facts:
    from glm_lsp.index.live_parse import LiveParses  # noqa: PLC0415 - likewise

    return LiveParses().facts  # with the trees of what was typed before


def main() -> None:
    """Answers jobs until there are no more."""
    _limits(int(sys.argv[1]))
    inward = os.fdopen(os.dup(0), "rb")
    outward = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)  # a grammar that prints must not speak between the frames
    # What a file leaves behind goes with its last reference; looking for circles in it takes a twentieth of the time.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    decoder, encoder = msgspec.msgpack.Decoder(Job), msgspec.msgpack.Encoder()
    _send(outward, b"")  # everything is there that is needed
    while (frame := _receive(inward)) is not None:
        _send(outward, encoder.encode(_answer(decoder.decode(frame))))


def _answer(job: Job) -> Reply:
    import signal  # noqa: PLC0415 - here the process is a worker

    # What is needed is there before the first file's time begins.
    parser = "glm_lsp.index.live_parse" if job.texts else "glm_lsp.languages.facts"
    importlib.import_module(parser if job.tier else "glm_lsp.index.words")
    words: list[Words] = []
    parsed: list[Parsed] = []
    for number, path in enumerate(job.paths):
        # The signal's default is the process's end, also in the middle of a parser's loop.
        signal.setitimer(signal.ITIMER_REAL, job.seconds)
        if job.texts:
            parsed.append(parse(path, job.texts[number].decode("utf-8", "replace"), job.seconds, typed=True))
        elif job.tier:
            parsed.append(read_facts(job.root, path, job.expected[number], job.seconds))
        else:
            words.append(read_words(job.root, path))
    signal.setitimer(signal.ITIMER_REAL, 0)
    return Reply(tuple(words), tuple(parsed))


def _limits(megabytes: int) -> None:
    import resource  # noqa: PLC0415 - here the process is a worker

    with contextlib.suppress(OSError):
        os.nice(10)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _receive(file: BinaryIO) -> bytes | None:
    head = file.read(4)
    if len(head) < 4:
        return None
    (length,) = struct.unpack("=I", head)
    return file.read(length)


def _send(file: BinaryIO, data: bytes) -> None:
    file.write(struct.pack("=I", len(data)) + data)
    file.flush()


if __name__ == "__main__":
    main()
