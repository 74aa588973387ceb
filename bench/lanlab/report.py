"""Turns the results of a directory into its table and plots."""

import json
from pathlib import Path

from .plot_completion import completion_plot
from .plot_links import links_plot
from .result import Result, Skipped, read
from .scenarios import SCENARIOS, Arrival
from .table import by_tool, table, typical


def write_report(directory: Path) -> list[Path]:
    """Writes `table.md`, a completion plot for each scenario, and a link plot for each scenario and tool."""
    results, skipped = read(sorted(directory.glob("*.jsonl")))
    written = [_write(directory / "table.md", table(results, skipped))]
    for scenario in sorted({result.scenario for result in results}):
        runs = [(tool, typical(repeated)) for tool, repeated in by_tool(results, scenario)]
        if runs[0][1].bound_s is not None:
            written.append(_write(directory / f"{scenario}.svg", _completion(scenario, runs)))
        for _, run in runs:
            written += _links(directory, run)
    return written


def summary(entry: Result | Skipped) -> str:
    """One line for the terminal."""
    if isinstance(entry, Skipped):
        return f"{entry.scenario:12} {entry.tool:12} {entry.reason}"
    last, ratio, cpu = entry.last_s(), entry.last_ratio(), entry.cpu_s_per_gib()
    time = f"last {last:.2f} s" if last is not None else f"{len(entry.took_s())} finished in time"
    wasted = entry.wasted_percent()
    figures = [
        time,
        f"= {ratio:.3f} of the bound" if ratio is not None else "",
        *[f"{role} {value:.3f}" for role in ("slow", "receiver") if (value := _of_group(entry, role)) is not None],
        f"seed {entry.seed_copies_wire():.2f} copies",
        f"{cpu:.1f} CPU s/GiB" if cpu is not None else "",
        f"{wasted:.2f} % wasted" if wasted is not None else "",
        f"{entry.verified} of {len(entry.receivers())} right",
    ]
    if entry.exact is not None:
        figures[-3:] = [
            f"{entry.cpu_s:.2f} CPU s",
            f"{entry.wire_bytes / 1e6:.1f} MB on the wire",
            f"RSS {entry.seed_rss_bytes >> 20} and {entry.receiver_rss_bytes >> 20} MiB",
            figures[-1],
            f"{entry.exact} exact",
            *sorted({host.difference for host in entry.receivers() if host.difference}),
        ]
    return f"{entry.scenario:12} {entry.tool:12} " + ", ".join(figure for figure in figures if figure)


def _of_group(result: Result, role: str) -> float | None:
    return result.last_ratio(role) if result.receivers("slow") else None


def _completion(scenario: str, runs: list[tuple[str, Result]]) -> str:
    receivers = len(runs[0][1].receivers())
    curves = {tool: [took / (run.bound_s or 1.0) for took in run.took_s()] for tool, run in runs}
    known = SCENARIOS.get(scenario)
    own = ", each from its own start" if known and known.arrival is Arrival.ONE_BY_ONE else ""
    about = known.about if known else f"{receivers} receivers"
    return completion_plot(f"{about}, {runs[0][1].file_bytes >> 20} MiB{own}", curves, receivers)


def _links(directory: Path, run: Result) -> list[Path]:
    if run.samples is None or not (directory / run.samples).exists():
        return []
    samples = json.loads((directory / run.samples).read_text())
    about = SCENARIOS[run.scenario].about if run.scenario in SCENARIOS else run.scenario
    return [_write(directory / f"{run.scenario}-{run.tool}-links.svg", links_plot(f"{run.tool}, {about}", samples))]


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
