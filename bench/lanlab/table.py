"""The results as a Markdown table: medians of repeated runs, with the least and the most."""

import statistics
from collections.abc import Callable, Iterable, Sequence

from .result import Result, Skipped
from .scenarios import SCENARIOS

Figure = Callable[[Result], float | None]
MIB = 1 << 20

HEADING = (
    "tool",
    "last / bound",
    "median / bound",
    "last, s",
    "seed's copies: payload",
    "on the wire",
    "wasted, %",
    "CPU s per GiB",
    "peak RSS, MiB",
    "whole and right",
    "runs",
)
# Of trees, updates and sparse files: per GiB says little where little is new.
TREE_HEADING = (
    "tool",
    "last, s",
    "last / bound",
    "CPU s",
    "all hosts sent, MB",
    "seed's copies of what is new, on the wire",
    "peak RSS, MiB: seed",
    "receiver",
    "files right",
    "kinds, modes, holes too",
    "runs",
)


def table(results: Sequence[Result], skipped: Sequence[Skipped]) -> str:
    """One section for each scenario, in the order of their names' definition; the fastest tool first."""
    sections = []
    for scenario in _in_order({run.scenario for run in results} | {entry.scenario for entry in skipped}):
        heading = TREE_HEADING if _beyond_one_file(results, scenario) else HEADING
        row = _tree_row if heading is TREE_HEADING else _row
        rows = [row(tool, runs) for tool, runs in by_tool(results, scenario)]
        ran = {result.tool for result in results if result.scenario == scenario}
        absent = {entry.tool: entry.reason for entry in skipped if entry.scenario == scenario and entry.tool not in ran}
        rows += [(tool, reason, *[""] * (len(heading) - 2)) for tool, reason in sorted(absent.items())]
        sections.append(
            "\n".join([_title(scenario, results), "", *_markdown(heading, rows), *_notes(results, scenario)])
        )
    return "\n\n".join(sections) + "\n"


def by_tool(results: Iterable[Result], scenario: str) -> list[tuple[str, list[Result]]]:
    """The runs of each tool, the fastest tool first; tools that did not finish come last."""
    tools: dict[str, list[Result]] = {}
    for result in results:
        if result.scenario == scenario:
            tools.setdefault(result.tool, []).append(result)
    return sorted(tools.items(), key=lambda item: _median(item[1], Result.last_s) or float("inf"))


def typical(runs: Sequence[Result]) -> Result:
    """The run in the middle: the one to plot."""
    ordered = sorted(runs, key=lambda run: run.last_s() or float("inf"))
    return ordered[(len(ordered) - 1) // 2]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """`median (least-most)`, or the value alone if all print the same."""
    if not values:
        return "-"
    middle, least, most = (f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return middle if least == most else f"{middle} ({least}-{most})"


def _row(tool: str, runs: Sequence[Result]) -> tuple[str, ...]:
    receivers = len(runs[0].receivers())
    return (
        _named(tool, runs),
        _spread(runs, Result.last_ratio, 3) + _unfinished(runs),
        _spread(runs, Result.median_ratio, 3),
        _spread(runs, Result.last_s),
        _spread(runs, Result.seed_copies_payload),
        _spread(runs, Result.seed_copies_wire),
        _spread(runs, Result.wasted_percent),
        _spread(runs, Result.cpu_s_per_gib),
        _spread(runs, lambda run: run.receiver_rss_bytes / MIB, 0),
        f"{min(run.verified for run in runs)} of {receivers}",
        str(len(runs)),
    )


def _tree_row(tool: str, runs: Sequence[Result]) -> tuple[str, ...]:
    receivers = len(runs[0].receivers())
    return (
        _named(tool, runs),
        _spread(runs, Result.last_s) + _unfinished(runs),
        _spread(runs, Result.last_ratio, 3),
        _spread(runs, lambda run: run.cpu_s),
        _spread(runs, lambda run: run.wire_bytes / 1e6, 1),
        _spread(runs, Result.seed_copies_wire),
        _spread(runs, lambda run: run.seed_rss_bytes / MIB, 0),
        _spread(runs, lambda run: run.receiver_rss_bytes / MIB, 0),
        f"{min(run.verified for run in runs)} of {receivers}",
        f"{min(run.exact or 0 for run in runs)} of {receivers}",
        str(len(runs)),
    )


def _named(tool: str, runs: Sequence[Result]) -> str:
    return f"{tool} {runs[-1].version}".strip()


def _unfinished(runs: Sequence[Result]) -> str:
    unfinished = sum(run.timed_out for run in runs)
    return f", {unfinished} not finished" if unfinished else ""


def _beyond_one_file(results: Sequence[Result], scenario: str) -> bool:
    return any(result.exact is not None for result in results if result.scenario == scenario)


def _notes(results: Sequence[Result], scenario: str) -> list[str]:
    """For scenarios with receivers that are reported on their own."""
    notes = []
    for tool, runs in by_tool(results, scenario):
        if runs[0].receivers("slow"):
            slow = _spread(runs, lambda run: run.last_ratio("slow"), 3)
            others = _spread(runs, lambda run: run.last_ratio("receiver"), 3)
            notes.append(f"- {tool}: the last of the slow receivers {slow}, of the others {others}")
    return ["", *notes] if notes else []


def _title(scenario: str, results: Sequence[Result]) -> str:
    about = SCENARIOS[scenario].about if scenario in SCENARIOS else "free-form"
    first = next((result for result in results if result.scenario == scenario), None)
    if first is None:
        return f"### {scenario}: {about}"
    bound = f", bound {first.bound_s:.2f} s" if first.bound_s else ""
    return f"### {scenario}: {about}, {first.file_bytes // MIB} MiB{bound}"


def _markdown(heading: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    lines = [heading, tuple("---" for _ in heading), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _spread(runs: Sequence[Result], figure: Figure, digits: int = 2) -> str:
    return spread([value for run in runs if (value := figure(run)) is not None], digits)


def _median(runs: Sequence[Result], figure: Figure) -> float | None:
    values = [value for run in runs if (value := figure(run)) is not None]
    return statistics.median(values) if values else None


def _in_order(names: set[str]) -> list[str]:
    return [name for name in SCENARIOS if name in names] + sorted(names - set(SCENARIOS))
