"""How busy every link was: one row for each host, time to the right, darker is busier; up above, down below."""

from itertools import pairwise
from typing import Any

from .svg import Svg

WIDTH = 860
LEFT, RIGHT, TOP = 76, 20, 62
PANEL_GAP, AXIS_HEIGHT, MEAN_HEIGHT = 30, 44, 90
COLUMNS = 200
LEVELS = 8
# Above 1, so that a link at nine tenths can be told from a full one.
CONTRAST = 1.5


def links_plot(title: str, samples: dict[str, Any]) -> str:
    """`samples`: what the sampler wrote, with the hosts' rates. Unshaped links are shown against their own maximum."""
    hosts = samples["hosts"]
    row = max(5, min(14, 330 // len(hosts)))
    panel = row * len(hosts)
    height = TOP + 2 * (panel + PANEL_GAP) + MEAN_HEIGHT + AXIS_HEIGHT
    grids = [
        _grid(samples["times"], samples[way], [host[rate] for host in hosts])
        for way, rate in (("sent", "up_mbit"), ("received", "down_mbit"))
    ]
    end = samples["times"][-1]
    svg = Svg(WIDTH, height, title)
    svg.text(LEFT, 22, title, "title")
    svg.text(LEFT, 40, "utilisation of each link, sampled each 100 ms; full colour is the line rate", "soft")
    top = TOP
    for words, hue, grid in (("uplinks", 0, grids[0]), ("downlinks", 2, grids[1])):
        svg.text(LEFT, top - 5, words, f"f{hue}")
        _rows(svg, grid, top, row, hue)
        for number, host in enumerate(hosts):
            if number == 0 or host["role"] != hosts[number - 1]["role"]:
                svg.text(LEFT - 8, top + number * row + max(row, 10) - 2, host["role"], "soft", "end")
        top += panel + PANEL_GAP
    takers = [down for down, host in zip(grids[1], hosts, strict=True) if host["role"] != "seed"]
    _means(svg, [(grids[0], 0), (takers, 2)], top)
    _time_axis(svg, end, samples.get("bound_s"), top + MEAN_HEIGHT)
    return svg.render()


def _grid(times: list[float], counters: list[list[int]], rates_mbit: list[float | None]) -> list[list[float]]:
    """Host by column: the share of the rate in use, 0 to 1."""
    columns = min(COLUMNS, max(1, len(times) - 1))
    edges = [times[-1] * column / columns for column in range(columns + 1)]
    grid = []
    for host, rate in enumerate(rates_mbit):
        at = _interpolated(times, [row[host] for row in counters], edges)
        speeds = [8e-6 * (after - before) / (times[-1] / columns) for before, after in pairwise(at)]
        full = rate or max(max(speeds), 1e-9)
        grid.append([min(speed / full, 1.0) for speed in speeds])
    return grid


def _interpolated(times: list[float], values: list[int], edges: list[float]) -> list[float]:
    result, step = [], 0
    for edge in edges:
        while step + 2 < len(times) and times[step + 1] < edge:
            step += 1
        if len(times) == 1:
            result.append(float(values[0]))
            continue
        span = times[step + 1] - times[step]
        part = min(1.0, max(0.0, (edge - times[step]) / span)) if span > 0 else 1.0
        result.append(values[step] + part * (values[step + 1] - values[step]))
    return result


def _rows(svg: Svg, grid: list[list[float]], top: float, row: int, hue: int) -> None:
    """One path for each level of busyness: neighbours of one level become one rectangle."""
    width = (WIDTH - LEFT - RIGHT) / len(grid[0])
    paths: dict[int, str] = {}
    for number, shares in enumerate(grid):
        levels = [round(share * LEVELS) for share in shares]
        column = 0
        while column < len(levels):
            start = column
            while column < len(levels) and levels[column] == levels[start]:
                column += 1
            if levels[start]:
                x, y = LEFT + start * width, top + number * row
                length = (column - start) * width
                rectangle = f"M{x:.1f} {y}h{length:.1f}v{row - 1}h{-length:.1f}z"
                paths[levels[start]] = paths.get(levels[start], "") + rectangle
    for level, commands in sorted(paths.items()):
        svg.path(commands, f"f{hue}", (level / LEVELS) ** CONTRAST)
    for number in range(len(grid) + 1):
        svg.line(LEFT, top + number * row - 0.5, WIDTH - RIGHT, top + number * row - 0.5, "grid")


def _means(svg: Svg, grids: list[tuple[list[list[float]], int]], top: float) -> None:
    svg.text(LEFT, top - 5, "mean of all uplinks, and of the receivers' downlinks", "soft")
    for share in (0.0, 0.5, 1.0):
        y = top + (1 - share) * MEAN_HEIGHT
        svg.line(LEFT, y, WIDTH - RIGHT, y, "grid")
        svg.text(LEFT - 8, y + 4, f"{share:.0%}", "soft", "end")
    for grid, hue in grids:
        width = (WIDTH - LEFT - RIGHT) / len(grid[0])
        means = [sum(shares) / len(grid) for shares in zip(*grid, strict=True)]
        heights = [top + (1 - mean) * MEAN_HEIGHT for mean in means]
        points = [f"{LEFT + (column + 0.5) * width:.1f} {y:.1f}" for column, y in enumerate(heights)]
        svg.path("M" + "L".join(points), f"curve c{hue}")


def _time_axis(svg: Svg, end: float, bound: float | None, top: float) -> None:
    scale = (WIDTH - LEFT - RIGHT) / end
    step = next(step for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 1000) if end / step <= 12)
    for number in range(int(end / step) + 1):
        x = LEFT + number * step * scale
        svg.line(x, top, x, top + 5, "axis")
        svg.text(x, top + 19, f"{number * step:g}", "soft", "middle")
    svg.text((LEFT + WIDTH - RIGHT) / 2, top + 36, "seconds", "soft", "middle")
    if bound is not None and bound <= end:
        svg.line(LEFT + bound * scale, TOP - 16, LEFT + bound * scale, top, "bound")
        svg.text(LEFT + bound * scale - 5, TOP - 6, "bound", "soft", "end")
