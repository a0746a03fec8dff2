"""The page of `engine report`: one HTML file with its charts inside, for light and dark, with a table beside each chart.

Never refers to anything outside of itself, and never runs a script: its policy forbids both to the browser.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING

from glm_lsp import __version__
from glm_lsp.cli.words import count, duration, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from glm_lsp.cli.report_sources import Seen, TurnSeen
    from glm_lsp.engine.metrics import View

MARK = "glm-lsp engine report"
"""What a page of ours bears: only such a one is written over."""

WIDTH, HEIGHT = 720, 180
"""Of a chart, in its own units; the page scales it."""

POINTS, ROWS = 240, 40
"""Points of a curve and rows of a table at most; more of them are averaged."""

Point = tuple[float, float | None]


@dataclass(frozen=True, slots=True)
class Series:
    """Figures of one kind, in order; None is a gap."""

    name: str
    points: tuple[Point, ...]


def page(seen: Seen) -> str:
    """The whole page."""
    parts = [_summary(seen)]
    if seen.views:
        parts += ["<h2>The engine</h2>", *_engine(seen.views)]
    if seen.turns:
        parts += ["<h2>Turns</h2>", *_overview(seen.turns)]
        parts += [_turn(number, turn) for number, turn in enumerate(seen.turns, 1)]
    made = datetime.now(UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="generator" content="{MARK}">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{MARK}</title>\n<style>{_STYLE}</style>\n</head>\n'
        f"<body>\n<main>\n<h1>{_safe(_heading(seen))}</h1>\n<p>Made {made} by glm-lsp {__version__}.</p>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


# --- what there is to say ----------------------------------------------------------------------------------------


def _heading(seen: Seen) -> str:
    models = {view.model for view in seen.views} | {turn.model for turn in seen.turns}
    return ", ".join(sorted(filter(None, models))) or "The engine"


def _summary(seen: Seen) -> str:
    rows: list[tuple[str, str]] = []
    if seen.views:
        rows.append(("recorded", f"{_clock(seen.views[0].at, day=True)} to {_clock(seen.views[-1].at, day=True)}"))
        away = sum(view.state == "down" for view in seen.views)
        rows += [("looks", f"{len(seen.views):,}"), ("of these without an answer", f"{away:,}")]
        last = next((view for view in reversed(seen.views) if view.state != "down"), None)
        if last is not None:
            rows.append(("written since its start", _tokens(last.ever.written)))
            rows.append(("read since its start", _tokens(last.ever.read)))
            rows.append(("prefix cache, reused", _percent(last.ever.reused)))
            rows.append(("drafts accepted (MTP)", _percent(last.ever.accepted)))
    if seen.turns:
        usages = [turn.usage for turn in seen.turns]
        rows += [("turns", f"{len(seen.turns):,}"), ("requests", f"{sum(len(t.steps) for t in seen.turns):,}")]
        read, written = sum(u.read for u in usages), sum(u.written for u in usages)
        rows += [("read by turns", _tokens(read)), ("written by turns", _tokens(written))]
        told = [u for u in usages if u.cached is not None]
        rows.append(("of what they read, reused", _share(sum(u.cached or 0 for u in told), sum(u.read for u in told))))
        told = [u for u in usages if u.thought is not None]
        rows.append(
            ("of what they wrote, thinking", _share(sum(u.thought or 0 for u in told), sum(u.written for u in told)))
        )
        firsts = sorted(s.first_token for turn in seen.turns for s in turn.steps if s.first_token is not None)
        if firsts:
            slow = firsts[min(len(firsts) - 1, math.ceil(0.95 * len(firsts)) - 1)]
            rows.append(("time to first token", f"p50 {_seconds(median(firsts))}, p95 {_seconds(slow)}"))
    kept = [row for row in rows if row[1]]
    return "<dl>" + "".join(f"<div><dt>{_safe(k)}</dt><dd>{_safe(v)}</dd></div>" for k, v in kept) + "</dl>"


def _engine(views: Sequence[View]) -> Iterator[str]:
    def series(name: str, of: Callable[[View], float | None]) -> Series:
        return Series(name, tuple((view.at, of(view) if view.state != "down" else None) for view in views))

    charts: tuple[tuple[str, Callable[[float], str], tuple[Series, ...]], ...] = (
        ("Written, tokens a second", _plain, (series("written", lambda v: v.now.written_per_s),)),
        ("Read, tokens a second", _plain, (series("read", lambda v: v.now.read_per_s),)),
        (
            "Time to first token, of the last minute",
            _seconds,
            (series("p50", lambda v: v.minute.first_token_p50_s), series("p95", lambda v: v.minute.first_token_p95_s)),
        ),
        (
            "Time between tokens, of the last minute",
            _seconds,
            (
                series("p50", lambda v: v.minute.between_tokens_p50_s),
                series("p95", lambda v: v.minute.between_tokens_p95_s),
            ),
        ),
        ("Requests", _plain, (series("running", lambda v: v.running), series("waiting", lambda v: v.waiting))),
        (
            "Shares",
            _percent,
            (
                series("KV cache in use", lambda v: v.kv),
                series("prefix cache, reused", lambda v: v.minute.reused),
                series("drafts accepted (MTP)", lambda v: v.minute.accepted),
            ),
        ),
    )
    for title, spell, some in charts:
        told = [one for one in some if any(value is not None for _, value in one.points)]
        if told:
            yield _curves(title, told, spell)


def _overview(turns: Sequence[TurnSeen]) -> Iterator[str]:
    head = ("turn", "began", "requests", "read", "reused", "written", "thinking", "tools", "time", "end")
    rows = []
    for number, turn in enumerate(turns, 1):
        usage = turn.usage
        cells = (
            f"{number}. {one_line(turn.title, 80)}",
            _clock(turn.began, day=True) if turn.began is not None else "",
            f"{len(turn.steps):,}",
            f"{usage.read:,}",
            "" if usage.cached is None else _share(usage.cached, usage.read),
            f"{usage.written:,}",
            "" if usage.thought is None else _share(usage.thought, usage.written),
            f"{len(turn.calls):,}",
            "" if turn.seconds is None else duration(turn.seconds),
            turn.ended,
        )
        rows.append(cells)
    yield _table(head, rows)


def _turn(number: int, turn: TurnSeen) -> str:
    steps = [f"{n}" for n in range(1, len(turn.steps) + 1)]
    usages = [step.usage for step in turn.steps]
    parts = [f"<h3>{number}. {_safe(one_line(turn.title, 120))}</h3>"]
    reused = [float(u.cached or 0) for u in usages]
    new = [float(u.read - (u.cached or 0)) for u in usages]
    parts.append(_bars("Read by each request, tokens", steps, (("reused", reused), ("new", new)), _plain))
    thought = [float(u.thought or 0) for u in usages]
    rest = [float(u.written - (u.thought or 0)) for u in usages]
    parts.append(_bars("Written by each request, tokens", steps, (("thinking", thought), ("answer", rest)), _plain))
    firsts = [step.first_token for step in turn.steps]
    if any(first is not None for first in firsts):
        known = [first or 0.0 for first in firsts]
        parts.append(_bars("Time to first token of each request", steps, (("first token", known),), _seconds))
    parts.append(_timeline(turn))
    return f"<section>{''.join(parts)}</section>"


# --- charts ------------------------------------------------------------------------------------------------------

_LEFT, _BOTTOM, _TOP = 64, 24, 10


def _curves(title: str, some: Sequence[Series], spell: Callable[[float], str]) -> str:
    thin = [Series(one.name, _thinned(one.points, POINTS)) for one in some]
    highest = _round_up(max((y for one in thin for _, y in one.points if y is not None), default=0.0))
    first, last = thin[0].points[0][0], thin[0].points[-1][0]
    span = last - first or 1.0

    def place(x: float, y: float) -> str:
        return f"{_LEFT + (x - first) / span * (WIDTH - _LEFT - 8):.1f},{_height(y, highest):.1f}"

    drawn = [_grid(highest, spell)]
    for number, one in enumerate(thin):
        for stretch in _stretches(one.points):
            points = " ".join(place(x, y) for x, y in stretch)
            alone = len(stretch) == 1
            at = points.partition(",")
            drawn.append(
                f'<circle class="s{number} dot" cx="{at[0]}" cy="{at[2]}" r="2"/>'
                if alone
                else f'<polyline class="s{number}" points="{points}"/>'
            )
    day = last - first > 20 * 3600
    drawn += [
        _label(_LEFT, HEIGHT - 6, _clock(first, day=day)),
        _label(WIDTH - 8, HEIGHT - 6, _clock(last, day=day), "end"),
    ]
    rows = [
        (_clock(at, day=day), *(spell(y) if y is not None else "" for y in ys))
        for at, *ys in zip(
            (x for x, _ in _thinned(some[0].points, ROWS)),
            *([y for _, y in _thinned(one.points, ROWS)] for one in some),
            strict=True,
        )
    ]
    names = [one.name for one in some]
    return _figure(title, names, drawn, _table(("time", *names), rows))


def _bars(
    title: str, labels: Sequence[str], stacks: Sequence[tuple[str, Sequence[float]]], spell: Callable[[float], str]
) -> str:
    totals = [sum(values) for values in zip(*(values for _, values in stacks), strict=True)]
    highest = _round_up(max(totals, default=0.0))
    room = (WIDTH - _LEFT - 8) / max(len(labels), 1)
    wide = min(room * 0.7, 40.0)
    drawn = [_grid(highest, spell)]
    for column, label in enumerate(labels):
        x, below = _LEFT + column * room + (room - wide) / 2, 0.0
        for number, (_, values) in enumerate(stacks):
            top, foot = _height(below + values[column], highest), _height(below, highest)
            below += values[column]
            drawn.append(
                f'<rect class="s{number}" x="{x:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{foot - top:.1f}"/>'
            )
        if column % max(1, math.ceil(len(labels) / 20)) == 0:
            drawn.append(_label(x + wide / 2, HEIGHT - 6, label, "middle"))
    names = [name for name, _ in stacks]
    rows = [(label, *(spell(values[column]) for _, values in stacks)) for column, label in enumerate(labels)]
    return _figure(title, names, drawn, _table(("request", *names), rows))


def _timeline(turn: TurnSeen) -> str:
    """What was going on when: requests above, tools below, each at its time."""
    rows: list[tuple[str, float | None, float | None, int, str]] = []
    for number, step in enumerate(turn.steps, 1):
        rows.append((f"request {number}", step.at, step.seconds, 0, ""))
    for call in turn.calls:
        state = "" if call.ok is None else "ok" if call.ok else "failed"
        rows.append((one_line(call.title, 70), call.at, call.seconds, 1, state))
    rows.sort(key=lambda row: math.inf if row[1] is None else row[1])
    cells = [
        (name, "" if at is None else _seconds(at), "" if took is None else _seconds(took), state)
        for name, at, took, _, state in rows
    ]
    table = _table(("what", "after", "took", "end"), cells)
    placed = [(name, at, took or 0.0, kind) for name, at, took, kind, _ in rows if at is not None]
    if len(placed) < 2:
        return table
    whole = max(at + took for _, at, took, _ in placed) or 1.0
    high = 16
    drawn = []
    for number, (name, at, took, kind) in enumerate(placed[:ROWS]):
        x = 200 + at / whole * (WIDTH - 208)
        wide = max(took / whole * (WIDTH - 208), 2.0)
        y = number * high
        drawn.append(f'<rect class="s{kind}" x="{x:.1f}" y="{y + 3}" width="{wide:.1f}" height="{high - 6}"/>')
        drawn.append(_label(0, y + high - 4, one_line(name, 32)))
    foot = len(placed[:ROWS]) * high + 16
    drawn += [_label(200, foot - 2, "0"), _label(WIDTH - 8, foot - 2, _seconds(whole), "end")]
    return _figure("Timeline", ["request", "tool"], drawn, table, height=foot)


def _figure(title: str, names: Sequence[str], drawn: Sequence[str], table: str, height: int = HEIGHT) -> str:
    legend = "".join(f'<li><i class="s{number}"></i>{_safe(name)}</li>' for number, name in enumerate(names))
    return (
        f"<figure><figcaption>{_safe(title)}<ul>{legend}</ul></figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{_safe(title)}: the figures are in the table below">'
        f"{''.join(drawn)}</svg><details><summary>The figures</summary>{table}</details></figure>"
    )


def _grid(highest: float, spell: Callable[[float], str]) -> str:
    drawn = []
    for share in (0.0, 0.5, 1.0):
        y = _height(share * highest, highest)
        drawn.append(f'<line x1="{_LEFT}" x2="{WIDTH - 8}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(_label(_LEFT - 6, y + 4, spell(share * highest), "end"))
    return "".join(drawn)


def _label(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{_safe(text)}</text>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f'<th scope="col">{_safe(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{_safe(row[0])}</th>{"".join(f"<td>{_safe(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _height(value: float, highest: float) -> float:
    return HEIGHT - _BOTTOM - value / highest * (HEIGHT - _BOTTOM - _TOP)


def _stretches(points: Sequence[Point]) -> Iterator[list[tuple[float, float]]]:
    """The pieces of a curve between its gaps."""
    stretch: list[tuple[float, float]] = []
    for x, y in points:
        if y is not None:
            stretch.append((x, y))
        elif stretch:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def _thinned(points: Sequence[Point], most: int) -> tuple[Point, ...]:
    """At most so many points, each the mean of those that it stands for."""
    if len(points) <= most:
        return tuple(points)
    thin: list[Point] = []
    for number in range(most):
        some = points[number * len(points) // most : (number + 1) * len(points) // most]
        values = [y for _, y in some if y is not None]
        thin.append((some[0][0], sum(values) / len(values) if values else None))
    return tuple(thin)


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, …, at which an axis ends."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * 0.999999)


# --- words -------------------------------------------------------------------------------------------------------


def _safe(text: str) -> str:
    return html.escape(one_line(text, 400))


def _plain(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:,.1f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{int(value * 100 + 1e-9)} %"


def _share(part: float, whole: float) -> str:
    return _percent(part / whole) if whole else ""


def _tokens(value: float | None) -> str:
    return "" if value is None else count(round(value), "token")


def _seconds(value: float) -> str:
    return f"{value * 1000:,.0f} ms" if 0 < value < 1 else f"{value:,.1f} s" if value < 10 else duration(value)


def _clock(at: float, *, day: bool) -> str:
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M" if day else "%H:%M:%S")


_STYLE = """
:root{--ink:#1c1c1a;--soft:#5d5c57;--line:#d9d8d3;--page:#fcfcfa;--s0:#2a6fc9;--s1:#c2600f;--s2:#138060}
@media (prefers-color-scheme:dark){
:root{--ink:#ecebe6;--soft:#a9a8a1;--line:#3d3d3a;--page:#1a1a19;--s0:#6aa5f0;--s1:#ee9a52;--s2:#43bd94}}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:860px;margin:0 auto;padding:24px 16px}
h1{font-size:24px;margin:0}h2{font-size:19px;margin:32px 0 8px}h3{font-size:16px;margin:24px 0 8px}
p,dt,summary{color:var(--soft)}
dl{display:flex;flex-wrap:wrap;gap:12px 28px;margin:16px 0}dd{margin:0;font-size:17px;font-variant-numeric:tabular-nums}
figure{margin:20px 0}figcaption{font-weight:600}
ul{display:inline;list-style:none;padding:0;margin:0 0 0 12px;font-weight:400}li{display:inline;margin-right:14px}
i{display:inline-block;width:11px;height:11px;border-radius:2px;margin-right:5px}
svg{width:100%;height:auto;display:block}
svg text{fill:var(--soft);font-size:11px}svg line{stroke:var(--line)}
polyline{fill:none;stroke-width:1.8;stroke-linejoin:round}
.s0{background:var(--s0);fill:var(--s0)}.s1{background:var(--s1);fill:var(--s1)}.s2{background:var(--s2);fill:var(--s2)}
polyline.s0{fill:none;stroke:var(--s0)}polyline.s1{fill:none;stroke:var(--s1);stroke-dasharray:5 3}
polyline.s2{fill:none;stroke:var(--s2);stroke-dasharray:1.5 3}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}
th,td{padding:2px 12px 2px 0;text-align:right;border-bottom:1px solid var(--line)}
th:first-child{text-align:left;font-weight:400}thead th{color:var(--soft);font-weight:400}
"""
