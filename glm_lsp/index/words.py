"""The words of a file as numbers, and the words of a question with their weights.

Never looks at the grammar of a language: a word is a run of letters, digits and underscores, whatever it stands for.

A term is the CRC-32 of a word's UTF-8 bytes. Each word of a file gives one term for all of it, in lower case, and one
for each of its parts (`parseHttpURL_v2` has parse, http, url and v2), so that a question finds a name by a part of it.
A question for a whole identifier may thus find too many files, through a collision or through a part of a longer name,
and never too few.
"""

from __future__ import annotations

import math
import re
import struct
from collections import Counter
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

if TYPE_CHECKING:
    from typing import TypeAlias

    Numbers: TypeAlias = np.ndarray[Any, np.dtype[np.integer[Any]]]

VERSION = 2
"""Goes up when the same text gives other terms; lists written under another version are of no use."""

ANYWHERE = 0
"""The term of words that are not listed: it rules out no file."""

Packed = tuple[bytes, bytes, int]
"""What `counts` gives for a file."""

LONGEST = 64  # bytes of a word that count: whatever goes on longer is data

WHOLE_ONLY = 1_000_000
"""Bytes of a file from which on its words are listed whole alone: it is data, such as the registers of a device, with
more names than all other files together, and nobody looks for a part of one."""

UNLISTED = frozenset(
    """and are as at be bool break by case catch class const continue def default do elif else end enum except export
    extends false finally float fn for from func function get if import in include int interface is it let long new nil
    none not null of on or package pass private protected public raise return self set static str string struct super
    switch that the then this throw to true try type typedef undefined use using var void while with yield""".split()  # noqa: SIM905 - a hundred quotation marks are no easier to read
)
"""Words that are not listed, being keywords of many languages or little words of English."""

PLAIN = UNLISTED | frozenset(
    """about above after again all also an any anything because been before being below better between both but can
    cannot change code could currently does doing don done during each every file files fix fixed fixes fixing give
    had has have having he her here him his how however i its itself just like line lines look made make makes making me
    more most much must my need needs no nor now off once one only other our out over own please same see she should
    show since so some something still such sure than their them there these they they're thing things those through
    too under until up us want was way we well were what when where which who why will without work works would
    yet you your""".split()  # noqa: SIM905 - as above
)
"""Words of a question that say nothing of where to look."""


def counts(data: bytes) -> Packed:
    """The terms of a file.

    Runs at some 40 MB a second on a core once the usual words were met, at half of that before.

    Args:
        data: the file as it is: UTF-8, or Latin-1 where it is not that; anything is taken.

    Returns:
        The distinct terms in ascending order, as unsigned little-endian 32-bit numbers; how often each occurs, one
        byte each, 255 for all that is more; and the number of words, which is the file's length.
    """
    words = data.translate(_SEPARATED).split()
    found = Counter(words)
    packed = [_terms_of[word] for word in found] if len(data) < WHOLE_ONLY else list(map(_whole_term, found))
    terms = np.frombuffer(b"".join(packed), dtype="<u4")
    if not len(terms):
        return b"", b"", len(words)
    # Term and count share a number, so that one sort brings equal terms together with their counts.
    both = terms.astype(np.uint64) << np.uint64(32)
    lengths = np.fromiter(map(len, packed), np.int64, len(packed)) >> 2
    both |= np.repeat(np.fromiter(found.values(), np.uint64, len(packed)), lengths)
    both.sort()
    terms = (both >> np.uint64(32)).astype("<u4")
    first = np.flatnonzero(np.concatenate((_ONE, terms[1:] != terms[:-1])))
    times = np.minimum(np.add.reduceat(both.astype(np.uint32), first), 255)
    return terms[first].tobytes(), times.astype(np.uint8).tobytes(), len(words)


def in_order(data: bytes) -> tuple[bytes, int]:
    """The terms of a text in its order, as often as they occur, packed as by `counts`; and the number of words."""
    found = data.translate(_SEPARATED).split()
    return b"".join([_terms_of[word] for word in found]), len(found)


def by_line(data: bytes) -> tuple[bytes, Numbers, Numbers]:
    """The terms of a text in its order, packed; and for each line where its terms end, and where its words do."""
    separated = data.translate(_SEPARATED_LINES)
    packed = list(map(_terms_of.__getitem__, separated.split()))
    ends = np.zeros(len(packed) + 1, np.int32)
    np.cumsum(np.fromiter(map(len, packed), np.int32, len(packed)) >> 2, out=ends[1:])
    # All that is neither a word nor the end of a line is a space by now.
    characters = np.frombuffer(separated + b"\n", np.uint8)
    word = characters > ord(" ")
    begun = np.empty(len(word), np.bool_)
    begun[0] = word[0]
    np.greater(word[1:], word[:-1], out=begun[1:])
    words = begun.cumsum(dtype=np.int32)[characters == ord("\n")]
    return b"".join(packed), ends[words], words


def query(text: str) -> dict[int, float]:
    """The terms of a question with their weights: a word said often counts more, a part less than the whole name."""
    said = Counter(word for word in _WORD.findall(text) if word.lower() not in PLAIN)
    weights: dict[int, float] = {}
    for word, times in said.items():
        weight = 1.0 + math.log(times)
        for place, term in enumerate(_terms(word)):
            weights[term] = weights.get(term, 0.0) + (weight if place == 0 else weight * PART_WEIGHT)
    return weights


PART_WEIGHT = 0.7


def identifiers(text: str) -> list[str]:
    """The words of a question that may be names in code, as written, in order, once each.

    Little words are left out, unless they are written as nobody writes them in prose (`getAll`, `is_it`).
    """
    words = dict.fromkeys(_WORD.findall(text))
    return [word for word in words if len(word) > 1 and (word.lower() not in PLAIN or not _as_prose(word))]


def whole(identifier: str) -> int:
    """The term of a whole identifier, or `ANYWHERE` for what is not listed.

    A file that holds the identifier as a word has this term, in whatever case.
    What is not one word (`a.b`, `x-y`), words of one character and those that begin with a digit are not listed.
    """
    return next(iter(_terms(identifier)), ANYWHERE) if _WORD.fullmatch(identifier) else ANYWHERE


def _as_prose(word: str) -> bool:
    return word.isalpha() and (word.islower() or word[1:].islower())


def _terms(word: str) -> list[int]:
    """The whole word's term first, then those of its parts."""
    if word.isascii():
        return _ascii_terms(word.encode())
    terms = {crc32(word.lower().encode()[:LONGEST]): None}
    for part in _PART.findall(word):
        if part.isascii():
            terms |= dict.fromkeys(_ascii_terms(part.encode()))
        elif _EASTERN.match(part):  # no spaces between words there, and two characters are about one
            terms |= {crc32(part[at : at + 2].encode()): None for at in range(max(1, len(part) - 1))}
        else:
            terms[crc32(part.lower().encode()[:LONGEST])] = None
    return list(terms)


def _ascii_terms(word: bytes) -> list[int]:
    packed = _packed_terms(word)
    return list(struct.unpack(f"<{len(packed) >> 2}I", packed))


def _whole_term(word: bytes) -> bytes:
    if not word.isascii():
        return _foreign_terms(word)
    lower = word.lower()
    return b"" if len(lower) < 2 or lower[0] <= _NINE or lower in _UNLISTED else _pack(crc32(lower[:LONGEST]))


def _packed_terms(word: bytes) -> bytes:
    lower = word.lower()
    if lower[0] <= _NINE or len(lower) < 2 or lower in _UNLISTED:  # as `_whole_term`, but for a call less
        return b""
    whole = _pack(crc32(lower[:LONGEST]))
    if lower == word and word.isalpha():  # as most words are
        return whole
    # Taking a word apart by its underscores is much cheaper than by its capitals.
    parts = lower.split(b"_") if lower == word or word.isupper() else _ASCII_PART.findall(word)
    terms = [whole]
    for part in parts:
        terms += _parts_of[part]
    return b"".join(dict.fromkeys(terms))


class _Parts(dict[bytes, tuple[bytes, ...]]):
    """The packed terms of a part of a word; the parts of many words are the same."""

    def __missing__(self, part: bytes) -> tuple[bytes, ...]:
        if len(self) >= _Terms.MOST:
            self.clear()
        terms = []
        for small in [part.lower()] if part.isalpha() else _ASCII_PART.findall(part.lower()):
            if len(small) > 1 and small not in _UNLISTED:
                terms.append(small)
            if small[-1] <= _NINE and len(letters := small.rstrip(b"0123456789")) > 1 and letters not in _UNLISTED:
                terms.append(letters)
        found = self[part] = tuple([_pack(crc32(one[:LONGEST])) for one in terms])
        return found


class _Terms(dict[bytes, bytes]):
    """What a word of a file gives, packed; the words of a project are few, and met again in every file.

    When there are too many, those that were met since the last time stay for as long again.
    """

    MOST = 150_000  # twice that, with what is `old`, takes some 50 MB

    def __init__(self) -> None:
        super().__init__()
        self.old: dict[bytes, bytes] = {}

    def __missing__(self, word: bytes) -> bytes:
        if len(self) >= self.MOST:
            self.old = dict(self)
            self.clear()
        packed = self.old.get(word)
        if packed is None:
            packed = _packed_terms(word) if word.isascii() else _foreign_terms(word)
        self[word] = packed
        return packed


def _foreign_terms(word: bytes) -> bytes:
    try:
        text = word.decode()
    except UnicodeDecodeError:
        text = word.decode("latin-1")
    if text.isalpha() and _EASTERN.search(text) is None:  # a word as most are, with no parts
        return _pack(crc32(text.lower().encode()[:LONGEST]))
    # Quotation marks and arrows do not belong to words.
    return b"".join(map(_pack, dict.fromkeys(term for word in _WORD.findall(text) for term in _terms(word))))


_WORD = re.compile(r"[^\W\d]\w*")
_EAST = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"  # Japanese, Chinese, Korean
_PART = re.compile(rf"[{_EAST}]+|[^\W\d_{_EAST}]+")
_EASTERN = re.compile(rf"[{_EAST}]")
_ASCII_PART = re.compile(rb"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*")
_SEPARATED = bytes(c if c >= 0x80 or chr(c).isalnum() or c == ord("_") else ord(" ") for c in range(256))
_SEPARATED_LINES = _SEPARATED[: ord("\n")] + b"\n" + _SEPARATED[ord("\n") + 1 :]
_NINE = ord("9")
_UNLISTED = frozenset(word.encode() for word in UNLISTED)
_ONE = np.array([True])
_pack = struct.Struct("<I").pack
_parts_of = _Parts()
_terms_of = _Terms()
