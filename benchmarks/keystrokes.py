"""What a keystroke in a file of 10,000 lines costs until its definitions, uses and imports are known again.

Never needs an engine, an editor or a network: it types into texts made of the project's own sources, and of Go that it
writes itself.

The peer, in the same run, is the same text parsed and looked through anew. Times are processor time of the process that
parses, which is not the server, and, apart, of what the server does with the answer. People type words and take letters
back; apart from that are signs that break a text, such as a quotation mark or a bracket without its end.
"""

from __future__ import annotations

import random
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glm_lsp.index.extract import parse
from glm_lsp.index.overlay import PARSE_SECONDS, facts_of
from glm_lsp.languages import facts

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "keystrokes"
DOC = "a keystroke in a file of 10,000 lines, in milliseconds of processor time; limits: p50 8, p95 30"

LINES = 10_000
PLACES = 40
WORD = "total_of"
BREAKS = ("(", "{", '"', ")", "}")
LIMITS = (8.0, 30.0)
"""Milliseconds at p50 and p95."""

_ROOT = Path(__file__).parent.parent
_GO = """
// Total%d adds up what is in the cart.
func (c *Cart) Total%d(rate float64) (float64, error) {
	sum := 0.0
	for _, item := range c.items {
		if item.count == 0 {
			return 0, errors.New("nothing of it")
		}
		sum += item.price * float64(item.count)
	}
	return sum * rate, nil
}
"""


def run() -> dict[str, Any]:
    """Types into a text of each language."""
    results = []
    for path, text in _texts():
        anew = _anew(path, text)
        for what, texts in (("words", _words(text)), ("signs that break the text", _breaks(text))):
            parsed, told = _typed(path, text, texts)
            p50 = _at(parsed, 50)
            row: dict[str, Any] = {
                "path": path,
                "what": what,
                "n": len(parsed),
                "p50 ms": p50,
                "p95 ms": _at(parsed, 95),
            }
            row |= {"most ms": round(1e3 * max(parsed), 1), "server p95 ms": _at(told, 95), "anew ms": anew}
            results.append({**row, "limit": LIMITS, "of anew": round(p50 / anew, 3)})
    return {"results": results, "lines": LINES}


def table(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows for printing, the first one being the heading."""
    names = ("path", "what", "n", "p50 ms", "p95 ms", "most ms", "anew ms", "of anew", "server p95 ms")
    return [names, *(tuple(str(row[name]) for name in names) for row in result["results"])]


def _texts() -> Iterator[tuple[str, str]]:
    yield "large.py", _long(sorted((_ROOT / "glm_lsp").rglob("*.py")))
    yield "large.ts", _long(sorted((_ROOT / "editor-clients" / "vscode" / "src").rglob("*.ts")))
    go = "package shop\n" + "".join(_GO % (at, at) for at in range(LINES // _GO.count("\n") + 1))
    yield "large.go", "".join(go.splitlines(keepends=True)[:LINES])


def _long(files: list[Path]) -> str:
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines(keepends=True)]
    while len(lines) < LINES:
        lines += lines
    return "".join(lines[:LINES])


def _places(text: str) -> list[int]:
    """Ends of lines that begin deeper than a definition and say something, as somebody types there."""
    ends, at = [], 0
    for line in text.splitlines(keepends=True):
        at += len(line)
        if line[:1].isspace() and line.rstrip().endswith((")", "0", "nil", ";")):
            ends.append(at - 1)
    return random.Random(1).sample(ends, PLACES)


def _words(text: str) -> Iterator[str]:
    """A word is typed on a line of its own, and taken back again."""
    for at in _places(text):
        line = text[text.rfind("\n", 0, at) + 1 : at]
        begin = "\n" + line[: len(line) - len(line.lstrip())]
        for number in (*range(len(WORD) + 1), *range(len(WORD) - 1, -1, -1)):
            yield text[:at] + begin + WORD[:number] + text[at:]
        yield text


def _breaks(text: str) -> Iterator[str]:
    """A sign that breaks the text is typed, and taken back again."""
    for number, at in enumerate(_places(text)):
        yield text[:at] + BREAKS[number % len(BREAKS)] + text[at:]
        yield text


def _typed(path: str, text: str, texts: Iterator[str]) -> tuple[list[float], list[float]]:
    """Seconds of each keystroke where it is parsed, and where the answer is taken."""
    name = path.encode()
    parse(name, text, PARSE_SECONDS, typed=True)
    parsed, told = [], []
    for one in texts:
        began = time.process_time()
        answer = parse(name, one, PARSE_SECONDS, typed=True)
        ended = time.process_time()
        facts_of(answer)
        parsed.append(ended - began)
        told.append(time.process_time() - ended)
    return parsed, told


def _anew(path: str, text: str) -> float:
    """Milliseconds for all of the text, the median of a few."""
    taken = []
    for _ in range(5):
        began = time.process_time()
        facts(path, text)
        taken.append(time.process_time() - began)
    return round(1e3 * statistics.median(taken), 1)


def _at(seconds: list[float], percent: int) -> float:
    return round(1e3 * statistics.quantiles(seconds, n=100)[percent - 1], 2)
