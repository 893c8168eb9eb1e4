"""A plot of wrong answers against hits as SVG, in ink that a light and a dark page can show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

Point = tuple[float, float]
"""Hits and wrong answers, percent of all requests."""

_WIDTH, _HEIGHT, _LEFT, _BELOW, _RIGHT, _ABOVE = 720, 420, 60, 50, 150, 40
_COLOURS = ("#0b7285", "#e8590c", "#5f3dc4", "#2b8a3e", "#c2255c", "#868e96")
_TICKS = 5


def plot(title: str, arms: Mapping[str, Sequence[Point]], *, limit: float) -> str:
    """One colour an arm, points of an arm joined; `limit` is a dashed line across."""
    points = [point for many in arms.values() for point in many]
    most_hit = _round(max([hit for hit, _ in points], default=1.0))
    most_wrong = _round(max([wrong for _, wrong in points] + [limit * 1.2]))

    def place(point: Point) -> tuple[float, float]:
        across = (_WIDTH - _LEFT - _RIGHT) * point[0] / most_hit
        up = (_HEIGHT - _ABOVE - _BELOW) * point[1] / most_wrong
        return round(_LEFT + across, 1), round(_HEIGHT - _BELOW - up, 1)

    made = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
            'font-family="sans-serif" font-size="12" fill="#868e96">'
        ),
        f'<text x="{_LEFT}" y="20" font-size="14">{escape(title)}</text>',
        *_axes(most_hit, most_wrong),
    ]
    left, right = place((0.0, limit)), place((most_hit, limit))
    made.append(
        f'<line x1="{left[0]}" y1="{left[1]}" x2="{right[0]}" y2="{right[1]}" '
        'stroke="#c92a2a" stroke-dasharray="5 4"/>'
        f'<text x="{right[0] + 4}" y="{right[1] + 4}" fill="#c92a2a">max_error {limit:g} %</text>'
    )
    for at, (name, many) in enumerate(arms.items()):
        made += _arm(name, [place(point) for point in many], at)
    return "\n".join([*made, "</svg>", ""])


def _round(value: float) -> float:
    """The next number that ticks go well with."""
    for size in (0.5, 1.0, 2.0, 2.5, 5.0, 10.0, 20.0, 25.0, 50.0):
        if value <= size * _TICKS:
            return size * _TICKS
    return 100.0


def _axes(most_hit: float, most_wrong: float) -> list[str]:
    bottom, right = _HEIGHT - _BELOW, _WIDTH - _RIGHT
    turn = f"rotate(-90 16 {(_ABOVE + bottom) / 2})"
    made = [
        f'<path d="M{_LEFT} {_ABOVE}V{bottom}H{right}" fill="none" stroke="#868e96"/>',
        (
            f'<text x="{(_LEFT + right) / 2}" y="{_HEIGHT - 12}" text-anchor="middle">'
            "hits, % of requests</text>"
        ),
        (
            f'<text x="16" y="{(_ABOVE + bottom) / 2}" text-anchor="middle" '
            f'transform="{turn}">wrong answers, % of requests</text>'
        ),
    ]
    for tick in range(_TICKS + 1):
        x = _LEFT + (right - _LEFT) * tick / _TICKS
        y = bottom - (bottom - _ABOVE) * tick / _TICKS
        made.append(
            f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{most_hit * tick / _TICKS:g}'
            f'</text><text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">'
            f"{most_wrong * tick / _TICKS:g}</text>"
        )
    return made


def _arm(name: str, places: Sequence[tuple[float, float]], at: int) -> list[str]:
    colour, y = _COLOURS[at % len(_COLOURS)], _ABOVE + 18 * at + 60
    path = " ".join(f"{x},{y_}" for x, y_ in places)
    return [
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>',
        *(f'<circle cx="{x}" cy="{y_}" r="3.5" fill="{colour}"/>' for x, y_ in places),
        (
            f'<circle cx="{_WIDTH - _RIGHT + 20}" cy="{y - 4}" r="4" fill="{colour}"/>'
            f'<text x="{_WIDTH - _RIGHT + 30}" y="{y}">{escape(name)}</text>'
        ),
    ]
