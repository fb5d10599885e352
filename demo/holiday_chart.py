"""The picture of a replayed holiday: people, what the boxes took, and what waited for the centre, as SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

WIDTH, HEIGHT, LEFT, RIGHT, TOP, GAP, FOOT = 960, 760, 70, 130, 70, 46, 50
LIMIT_MS = 300


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn, minute by minute."""

    title: str
    at_min: Sequence[int]
    arrived: Sequence[int]
    admitted: Sequence[int]
    queue: Sequence[int]
    wait_p50_ms: Sequence[float]
    wait_max_ms: Sequence[float]
    backlog: Sequence[int]
    cut: Sequence[bool]


@dataclass(frozen=True, slots=True)
class _Line:
    words: str
    values: Sequence[float]
    colour: str


@dataclass(frozen=True, slots=True)
class _Panel:
    title: str
    lines: Sequence[_Line]
    limit: float | None = None


def draw_chart(chart: Chart) -> str:
    """Return the picture as an SVG document."""
    panels = (
        _Panel(
            "人 People",
            (
                _Line("到达 arrive / min", chart.arrived, "#1f5f9e"),
                _Line("放行 let in / min", chart.admitted, "#08704c"),
                _Line("排队 in all queues", chart.queue, "#b97f00"),
            ),
        ),
        _Panel(
            "等待设备（毫秒） Waiting for the box (ms)",
            (
                _Line("最长 longest", chart.wait_max_ms, "#ab231c"),
                _Line("中位 median", chart.wait_p50_ms, "#56635c"),
            ),
            LIMIT_MS,
        ),
        _Panel(
            "待传记录 Entries that wait for the centre", (_Line("待传 backlog", chart.backlog, "#6a3d9a"),)
        ),
    )
    return "\n".join(_document(chart, panels)) + "\n"


def _document(chart: Chart, panels: Sequence[_Panel]) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-size="14"'
        ' font-family="system-ui, Noto Sans CJK SC, sans-serif">'
    )
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
    yield f'<text x="{LEFT}" y="32" font-size="20" font-weight="700">{chart.title}</text>'
    yield (
        f'<text x="{LEFT}" y="52" fill="#56635c">阴影：与中心断网。 Shaded: no network to the centre. '
        "横轴：距高峰的分钟。 Minutes from the peak.</text>"
    )
    height = (HEIGHT - TOP - FOOT - GAP * len(panels)) / len(panels)
    for number, panel in enumerate(panels):
        yield from _draw_panel(chart, panel, TOP + GAP * (number + 1) + height * number - 14, height)
    for minute in chart.at_min:
        if minute % 15 == 0:
            x = _x(chart, minute)
            yield f'<text x="{x:.1f}" y="{HEIGHT - 22}" text-anchor="middle" fill="#56635c">{minute:+d}</text>'
    yield "</svg>"


def _draw_panel(chart: Chart, panel: _Panel, top: float, height: float) -> Iterator[str]:
    most = max([1.0, panel.limit or 0, *(max(line.values, default=0) for line in panel.lines)]) * 1.08

    def y(value: float) -> float:
        return top + height * (1 - value / most)

    yield f'<text x="{LEFT}" y="{top - 8:.1f}" font-weight="600">{panel.title}</text>'
    for begin, end in _runs(chart):
        x = _x(chart, begin)
        width = _x(chart, end + 1) - x
        yield f'<rect x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" fill="#fbe9e7"/>'
    for share in (0.0, 0.5, 1.0):
        value = most / 1.08 * share
        yield (
            f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}" stroke="#e1e5df"/>'
            f'<text x="{LEFT - 8}" y="{y(value) + 5:.1f}" text-anchor="end" fill="#56635c">{value:,.0f}</text>'
        )
    if panel.limit is not None:
        yield (
            f'<path d="M{LEFT} {y(panel.limit):.1f}H{WIDTH - RIGHT}" stroke="#ab231c" stroke-dasharray="6 5"/>'
            f'<text x="{WIDTH - RIGHT + 8}" y="{y(panel.limit) + 5:.1f}" fill="#ab231c">≤ {panel.limit:.0f} ms</text>'
        )
    for number, line in enumerate(panel.lines):
        points = "L".join(
            f"{_x(chart, minute):.1f} {y(value):.1f}"
            for minute, value in zip(chart.at_min, line.values, strict=True)
        )
        yield f'<path d="M{points}" fill="none" stroke="{line.colour}" stroke-width="2"/>'
        place = top + 18 + 19 * (number + (panel.limit is not None))
        yield f'<text x="{WIDTH - RIGHT + 8}" y="{place:.1f}" fill="{line.colour}">{line.words}</text>'


def _runs(chart: Chart) -> Iterator[tuple[int, int]]:
    """Yield the first and last minute of each time without a network."""
    for is_cut, run in groupby(zip(chart.at_min, chart.cut, strict=True), key=lambda pair: pair[1]):
        minutes = [minute for minute, _ in run]
        if is_cut:
            yield minutes[0], minutes[-1]


def _x(chart: Chart, minute: float) -> float:
    first, last = chart.at_min[0], chart.at_min[-1] + 1
    return LEFT + (WIDTH - LEFT - RIGHT) * (minute - first) / max(1, last - first)
