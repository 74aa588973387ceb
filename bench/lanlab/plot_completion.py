"""The number of receivers that have the file, over time in units of the bound: one curve for each tool."""

import math
from collections.abc import Mapping, Sequence

from .svg import HUES, Svg

WIDTH, HEIGHT = 860, 420
LEFT, RIGHT, TOP, BOTTOM = 60, 130, 56, 60
# Above this ratio the axis is logarithmic: otherwise one slow tool squeezes all others to the left.
LINEAR_UP_TO = 4.0
LOGARITHMIC_TICKS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 64.0)
LABEL_HEIGHT = 15


def completion_plot(title: str, runs: Mapping[str, Sequence[float]], receivers: int) -> str:
    """`runs`: for each tool the receivers' times as ratios to the bound, of those that finished."""
    worst = max((ratio for ratios in runs.values() for ratio in ratios), default=1.0)
    axis = _Axis(max(worst * 1.03, 1.3))
    svg = Svg(WIDTH, HEIGHT, title)
    svg.text(LEFT, 24, title, "title")
    svg.text(LEFT, 42, "receivers that have the whole file, over time; left is better", "soft")
    _frame(svg, axis)
    labels = []
    for number, (tool, ratios) in enumerate(runs.items()):
        hue = number % len(HUES)
        done = sorted(ratios)
        commands = f"M{axis.x(done[0] if done else axis.low):.1f} {_y(0):.1f}"
        for count, ratio in enumerate(done, 1):
            commands += f"H{axis.x(ratio):.1f}V{_y(count / receivers):.1f}"
        svg.path(commands, f"curve c{hue}")
        if done:
            label = f"{tool} {done[-1]:.2f}" if len(done) == receivers else f"{tool}: {len(done)} of {receivers}"
            labels.append((axis.x(done[-1]), _y(len(done) / receivers), label, hue))
        else:
            labels.append((axis.x(axis.high), _y(0), f"{tool}: none", hue))
    _write_labels(svg, labels)
    return svg.render()


class _Axis:
    """Ratio to x: linear, or logarithmic where ratios differ a lot."""

    def __init__(self, high: float) -> None:
        self.high = high
        self.logarithmic = high > LINEAR_UP_TO
        self.low = 0.8 if self.logarithmic else 0.0

    def x(self, ratio: float) -> float:
        if self.logarithmic:
            part = math.log(max(ratio, self.low) / self.low) / math.log(self.high / self.low)
        else:
            part = ratio / self.high
        return LEFT + part * (WIDTH - LEFT - RIGHT)

    def ticks(self) -> list[float]:
        if self.logarithmic:
            return [tick for tick in LOGARITHMIC_TICKS if tick <= self.high]
        step = 0.25 if self.high <= 2.5 else 0.5
        return [number * step for number in range(int(self.high / step) + 1)]


def _frame(svg: Svg, axis: _Axis) -> None:
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        svg.line(LEFT, _y(share), WIDTH - RIGHT, _y(share), "grid" if share else "axis")
        svg.text(LEFT - 8, _y(share) + 4, f"{share:.0%}", "soft", "end")
    for tick in axis.ticks():
        svg.line(axis.x(tick), _y(0), axis.x(tick), _y(0) + 5, "axis")
        svg.text(axis.x(tick), _y(0) + 20, f"{tick:g}", "soft", "middle")
    svg.line(axis.x(1.0), _y(1.0) - 6, axis.x(1.0), _y(0), "bound")
    svg.text(axis.x(1.0) - 6, _y(0.5), "bound", "soft", "end")
    scale = ", logarithmic" if axis.logarithmic else ""
    svg.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, f"time / fluid bound{scale}", "soft", "middle")


def _write_labels(svg: Svg, labels: list[tuple[float, float, str, int]]) -> None:
    """Beside each curve's end; curves that end close together get one label below the other."""
    taken: list[tuple[float, float]] = []
    for x, y, words, hue in sorted(labels, reverse=True):
        y += 4
        while any(abs(y - other_y) < LABEL_HEIGHT and abs(x - other_x) < RIGHT for other_x, other_y in taken):
            y += LABEL_HEIGHT
        taken.append((x, y))
        svg.text(x + 7, y, words, f"f{hue}")


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
