"""`glm-lsp engine report`: what it says of turns and of an engine, and that the page stands alone."""

from __future__ import annotations

import json
import re
import stat
import time
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from test_refactor import WORKS, Person, edit

from glm_lsp.cli.engine_report import moment
from glm_lsp.cli.engine_top import line_of
from glm_lsp.cli.report_page import _round_up, _stretches, _thinned, page
from glm_lsp.cli.report_sources import Call, Seen, Step, TurnSeen, read
from glm_lsp.engine.metrics import Figures, View
from glm_lsp.errors import UsageError
from glm_lsp.terms import Usage

if TYPE_CHECKING:
    from pathlib import Path

VOID = {"meta", "br"}


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path)


class Page(HTMLParser):
    """A page, read strictly: every tag is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in {"td", "th"}:
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self.open and self.open[-1] in {"td", "th"}:
            self.tables[-1][-1][-1] += data

    def table(self, first: str) -> list[list[str]]:
        return next(table for table in self.tables if table[0][0] == first)


def views(number: int = 5, *, at: float = 1.8e9) -> list[View]:
    return [
        View(
            at + n,
            "ready",
            where="unix:/s",
            kind="vllm",
            model="glm-4.7",
            running=n,
            waiting=0,
            kv=0.1 * (n % 10),
            now=Figures(1, 10, 20, 10.0 * n, 20.0),
            minute=Figures(60, first_token_p50_s=0.2, first_token_p95_s=1.5, reused=0.97),
            ever=Figures(100, written=1000.0, read=31880.0, reused=0.97),
        )
        for n in range(number)
    ]


TURN = TurnSeen(
    "use Decimal for money",
    "glm-4.7",
    1.8e9,
    12.0,
    "done",
    [Step(0.0, Usage(1000, 100, 0, 60), 4.0, 0.8), Step(5.0, Usage(1200, 40, 1056, 10), 2.0, 0.2)],
    [Call("Read cart.py 1-80", 4.0, 0.1, True), Call('Searched "price"', 4.1, 0.9, False)],
)


def recorded(file: Path, some: list[View]) -> Path:
    file.write_text("".join(line_of(view) + "\n" for view in some))
    return file


# --- the page ----------------------------------------------------------------------------------------------------


def test_a_turn_shows_its_tokens_thinking_reuse_times_and_tools() -> None:
    found = Page(page(Seen([TURN])))
    text = " ".join(found.text)
    row = found.table("turn")[1]
    assert row[0] == "1. use Decimal for money"
    assert row[2:] == ["2", "2,200", "48 %", "140", "50 %", "2", "12 s", "done"]
    assert "p50 500 ms, p95 800 ms" in text
    read, written, first, timeline = (table for table in found.tables if table[0][0] in {"request", "what"})
    assert read == [["request", "reused", "new"], ["1", "0", "1,000"], ["2", "1,056", "144"]]
    assert written == [["request", "thinking", "answer"], ["1", "60", "40"], ["2", "10", "30"]]
    assert first == [["request", "first token"], ["1", "800 ms"], ["2", "200 ms"]]
    assert [cells[0] for cells in timeline[1:]] == ["request 1", "Read cart.py 1-80", 'Searched "price"', "request 2"]
    assert [cells[3] for cells in timeline[1:]] == ["", "ok", "failed", ""]


def test_an_engine_shows_its_curves_and_a_gap_where_it_was_away() -> None:
    looks = views(9)
    looks[4] = View(looks[4].at, "down", error="gone")
    text = page(Seen(views=looks))
    figure = text[text.index("Written, tokens a second") :]
    figure = figure[: figure.index("</figure>")]
    assert figure.count("<polyline") == 2, "one before the gap and one behind it"
    assert "1,000 tokens" in text
    found = Page(text)
    assert found.table("time")[5][1] == ""
    assert "of these without an answer" in "".join(found.text)


def test_the_page_stands_alone_and_suits_light_and_dark_and_those_who_do_not_see_it() -> None:
    text = page(Seen([TURN], views()))
    found = Page(text)
    assert not re.search(r"https?://|//[a-z]|@import|url\(|<script|<link|<img|<iframe", text)
    policy = [value for tag, name, value in found.attributes if (tag, name) == ("meta", "content")]
    assert any(value.startswith("default-src 'none'") for value in policy)
    assert "prefers-color-scheme:dark" in text
    assert [value for tag, name, value in found.attributes if (tag, name) == ("html", "lang")] == ["en"]
    for figure in re.findall("<figure>.*?</figure>", text, re.DOTALL):
        assert 'role="img"' in figure
        assert "aria-label=" in figure
        assert "<table" in figure, "the figures are there as text too"
    for svg in re.findall("<svg.*?</svg>", text, re.DOTALL):
        for element in ET.fromstring(svg).iter():
            for name in ("x", "y", "width", "height", "cx", "cy"):
                assert float(element.get(name, "0")) >= 0, ET.tostring(element)


def test_nothing_that_a_model_or_a_server_says_becomes_part_of_the_page() -> None:
    hostile = '"><script>alert(1)</script><img src=x onerror=y>\x1b[2J\ud800'
    turn = TurnSeen(hostile, hostile, None, None, hostile, [Step(None, Usage(1, 1))], [Call(hostile, 1.0, 1.0, True)])
    text = page(Seen([turn], [View(1.8e9, "ready", model=hostile, running=1.0)]))
    assert "<script" not in text
    assert "<img" not in text
    assert "\x1b" not in text
    text.encode("utf-8", "strict")
    Page(text)


@pytest.mark.parametrize(
    "seen",
    [
        Seen(views=views(1)),
        Seen(views=[View(1.8e9, "down")]),
        Seen(views=views(2000)),
        Seen([TurnSeen(steps=[Step(None, Usage())])]),
        Seen([TurnSeen("x" * 5000, steps=[Step(n * 1.0, Usage(n, n, n, n), 0.0, 0.0) for n in range(300)])]),
    ],
    ids=["one look", "only away", "many looks", "a turn of which nothing is known", "a long turn"],
)
def test_little_and_much_make_a_page(seen: Seen) -> None:
    text = page(seen)
    Page(text)
    assert len(text) < 500_000
    assert not re.search(r"\bnan\b|\binf\b", text)


def test_many_points_become_few_that_stand_for_them() -> None:
    thin = _thinned([(float(n), float(n)) for n in range(1000)], 10)
    assert len(thin) == 10
    assert thin[0] == (0.0, 49.5)
    assert _thinned([(0.0, None), (1.0, None)], 1) == ((0.0, None),)
    assert list(_stretches([(0, None), (1, 2.0), (2, None), (3, 4.0), (4, 5.0)])) == [[(1, 2.0)], [(3, 4.0), (4, 5.0)]]


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 1), (0.3, 0.5), (1, 1), (3, 5), (99, 100), (101, 200), (5e5, 5e5), (1e-9, 1e-9)]
)
def test_an_axis_ends_at_a_round_figure(value: float, expected: float) -> None:
    assert _round_up(value) == pytest.approx(expected)


# --- where it comes from -----------------------------------------------------------------------------------------


def test_a_run_written_down_is_reported_with_its_tools(person: Person) -> None:
    done = person.run("count quantities", "cart.py", "--output", "ndjson", engine=person.script(*WORKS))
    (person.root / "run.ndjson").write_text(done.stdout)
    made = person.glm("engine", "report", "run.ndjson")
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout == "glm-lsp-report.html: 1 turn\n"
    found = Page(person.read("glm-lsp-report.html"))
    row = found.table("turn")[1]
    assert row[0] == "1. count quantities"
    assert (row[2], row[7], row[9]) == ("2", "1", "done")
    assert [cells[3] for cells in found.table("what")[1:] if "cart.py" in cells[0]] == ["ok"]
    assert stat.S_IMODE((person.root / "glm-lsp-report.html").stat().st_mode) == 0o600


def test_kept_conversations_are_reported_without_a_recording(person: Person) -> None:
    replies = ({"calls": [edit("cart.py")]}, {"text": "Done."})
    person.run("count quantities", "cart.py", "--session", "work", engine=person.script(*replies))
    person.run("and prices", "cart.py", "--session", "other", engine=person.script({"text": "Yes."}))
    made = person.glm("engine", "report")
    assert made.stdout == "glm-lsp-report.html: 2 turns\n", made.stderr
    found = Page(person.read("glm-lsp-report.html"))
    assert [row[2] for row in found.table("turn")[1:]] == ["2", "1"]
    one = person.glm("engine", "report", "--session", "other", "--out", "one.html")
    assert one.stdout == "one.html: 1 turn\n"
    none = person.glm("engine", "report", "--since", "2999-01-01")
    assert none.returncode == 4
    assert "nothing to report" in none.stderr


def test_a_recording_is_reported_from_a_moment_on(person: Person) -> None:
    now = time.time()
    file = recorded(person.root / "top.ndjson", [*views(3, at=now - 9000), *views(4, at=now - 60)])
    with file.open("a") as more:
        more.write('{"at": 1, "state"\n{"at": NaN, "state": "ready"}\n[]\n')
    made = person.glm("engine", "report", str(file), "--since", "2h")
    assert made.stdout == "glm-lsp-report.html: 4 looks at the engine · 3 lines passed over\n"


def test_what_a_later_release_adds_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "run.ndjson"
    rows = [
        {"turn": "a", "seq": 1, "at": 0.0, "event": "started", "action": "chat", "instruction": "", "model": "m"}
        | {"thinking": True, "new": 1},
        {"turn": "a", "seq": 2, "at": 0.1, "event": "queued-by-somebody", "place": 3},
        {"turn": "a", "seq": 3, "at": 2.0, "event": "used", "usage": {"read": 5, "written": 7}}
        | {"seconds": 1.5, "first_token": 0.25},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    seen = Seen()
    read(file, seen)
    assert seen.turns == [TurnSeen("chat", "m", steps=[Step(0.5, Usage(5, 7), 1.5, 0.25)])]
    assert seen.passed_over == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("cart.py",), "holds nothing"),
        (("nowhere",), "cannot be read"),
        (("--since", "yesterday"), "no time"),
        (("--session", "nobody"), "no conversation"),
        (("--root", "cart.py"), "not a folder"),
        ((), "nothing to report"),
        (("good.ndjson", "--out", "cart.py"), "no report"),
        (("good.ndjson", "--out", "no/where.html"), "cannot be written"),
    ],
    ids=str,
)
def test_bad_input_is_said_and_nothing_is_written_over(person: Person, arguments: tuple[str, ...], words: str) -> None:
    recorded(person.root / "good.ndjson", views(2))
    before = person.read()
    made = person.glm("engine", "report", *arguments)
    assert made.returncode == 4
    assert words in made.stderr
    assert "Traceback" not in made.stderr
    assert person.read() == before


def test_an_earlier_page_of_ours_is_written_over(person: Person) -> None:
    recorded(person.root / "good.ndjson", views(2))
    assert person.glm("engine", "report", "good.ndjson").returncode == 0
    assert person.glm("engine", "report", "good.ndjson").returncode == 0


@pytest.mark.parametrize("text", ["", "h", "2w", "-2h", "99999-01-01", "1e999d", "\x00"])
def test_a_time_that_is_none_is_an_error(text: str) -> None:
    with pytest.raises(UsageError):
        moment(text)


def test_a_moment_is_so_long_ago_or_a_date() -> None:
    assert moment("1.5h") == pytest.approx(time.time() - 5400, abs=5)
    assert moment("2026-11-24T09:00+00:00") == 1795510800
