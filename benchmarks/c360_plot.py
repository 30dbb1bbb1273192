"""The figures of customer 360 as SVG: one size as bars; growth as lines on two logarithmic scales.

python -m benchmarks.c360_plot benchmarks/results/c360_growth.json docs/growth.svg
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 420, 300, 60, 40, 90
_LABELS, _LONGEST = 190, 520
_COLOURS = ("#0b6e4f", "#c8553d", "#1b4f9c", "#8a5a00", "#6a3d9a", "#666666", "#b0126a")
_PANELS = (("cpu", "CPU-seconds", 1.0), ("peak_pss", "memory (PSS), MB", 1e6))


def drawn(rows: Sequence[Mapping[str, Any]]) -> str:
    """The picture. rows: engine, events, cpu (seconds) and peak_pss (bytes), as `c360_growth.json` has them."""
    engines = list(dict.fromkeys(row["engine"] for row in rows))
    parts = [
        _panel(rows, engines, what, title, unit, at=_LEFT + number * (_WIDTH + _GAP))
        for number, (what, title, unit) in enumerate(_PANELS)
    ]
    return _svg(2 * (_WIDTH + _GAP) + _LEFT + 60, _HEIGHT + 100, parts)


def bars(rows: Sequence[Mapping[str, Any]], tables: Sequence[Mapping[str, Any]]) -> str:
    """One size: CPU-seconds and memory of each engine, and CPU-seconds of each table of the product.

    rows: engine, cpu (seconds), peak_pss (bytes). tables: table, cpu.
    """
    panels = [
        (title, [(row["engine"], row[what] / unit) for row in rows], colour)
        for (what, title, unit), colour in zip(_PANELS, _COLOURS, strict=False)
    ]
    if tables:
        panels.append(
            ("CPU-seconds of the product's tables", [(each["table"], each["cpu"]) for each in tables], _COLOURS[2])
        )
    parts: list[str] = []
    top = _TOP
    for title, values, colour in panels:
        parts.append(f'<text x="{_LABELS}" y="{top - 12}" font-weight="bold">{escape(title)}</text>')
        most = max(value for _, value in values) or 1.0
        for label, value in values:
            long = max(1.0, value / most * _LONGEST)
            parts.append(f'<text x="{_LABELS - 8}" y="{top + 13}" text-anchor="end">{escape(label)}</text>')
            parts.append(f'<rect x="{_LABELS}" y="{top}" width="{long:.1f}" height="16" fill="{colour}"/>')
            parts.append(f'<text x="{_LABELS + long + 6:.1f}" y="{top + 13}">{value:,.1f}</text>')
            top += 22
        top += 40
    return _svg(_LABELS + _LONGEST + 80, top - 20, parts)


def _svg(wide: int, high: int, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" font-family="sans-serif" font-size="12">'
        f'<rect width="{wide}" height="{high}" fill="white"/>{"".join(parts)}</svg>\n'
    )


def _panel(
    rows: Sequence[Mapping[str, Any]], engines: Sequence[str], what: str, title: str, unit: float, *, at: int
) -> str:
    points = {
        engine: sorted((row["events"], row[what] / unit) for row in rows if row["engine"] == engine)
        for engine in engines
    }
    xs = [x for line in points.values() for x, _ in line]
    ys = [y for line in points.values() for _, y in line]
    across, up = _scale(xs, _WIDTH), _scale(ys, _HEIGHT)
    bottom = _TOP + _HEIGHT
    parts = [f'<text x="{at}" y="{_TOP - 15}" font-weight="bold">{escape(title)}</text>']
    for value in _ticks(ys):
        y = bottom - up(value)
        parts.append(f'<path d="M{at} {y:.1f}h{_WIDTH}" stroke="#ddd"/>')
        parts.append(f'<text x="{at - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in sorted(set(xs)):
        x = at + across(value)
        parts.append(f'<path d="M{x:.1f} {_TOP}v{_HEIGHT}" stroke="#eee"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{value / 1e6:g} M</text>')
    parts.append(f'<text x="{at + _WIDTH / 2}" y="{bottom + 38}" text-anchor="middle">web events</text>')
    for (engine, line), colour in zip(points.items(), _COLOURS, strict=False):
        way = " ".join(f"{at + across(x):.1f},{bottom - up(y):.1f}" for x, y in line)
        x, y = at + across(line[-1][0]) + 5, bottom - up(line[-1][1]) + 4
        parts.append(f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}">{escape(engine)}</text>')
    return "".join(parts)


def _scale(values: Sequence[float], length: float) -> Any:
    """From a value to its place on a logarithmic axis that holds them all."""
    low, high = math.log(min(values)), math.log(max(values))
    return lambda value: (math.log(value) - low) / ((high - low) or 1.0) * length


def _ticks(values: Sequence[float]) -> list[float]:
    """1, 2 and 5 times the powers of ten among the values."""
    powers = range(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))) + 1)
    marks = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    return [mark for mark in marks if min(values) <= mark <= max(values)]


def main(arguments: Sequence[str]) -> None:
    """See the module."""
    source, target = map(Path, arguments)
    target.write_text(drawn(json.loads(source.read_text(encoding="utf-8"))["growth"]), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
