"""The command line of the lab."""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .campaign import Campaign, end_in_order
from .content.base import MIB
from .lan import Link
from .report import write_report
from .scenarios import SCENARIOS, Scenario, equal
from .tools import TOOLS

RESULTS = Path(__file__).resolve().parents[1] / "results"
TIMEOUT_S = 300.0


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    match options.command:
        case "list":
            return _list()
        case "report":
            for path in write_report(options.results):
                print(path)
            return 0
    return _run(options)


def needs_root() -> bool:
    """Exits with a message unless run as root."""
    if os.geteuid() != 0:
        print("the lab makes network namespaces: run it as root", file=sys.stderr)
        return True
    return False


def _run(options: argparse.Namespace) -> int:
    if needs_root():
        return 2
    try:
        scenario, tools, changes = _scenario(options), _tools(options.tools), _changes(options.set)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if tools == ["tnet"] and (missing := TOOLS["tnet"].missing()):
        print(missing, file=sys.stderr)
        return 2
    end_in_order()
    campaign = Campaign(options.results, options.repetitions, options.timeout, changes)
    try:
        campaign.measure(scenario, tools)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    write_report(options.results)
    return 0


def _list() -> int:
    for scenario in SCENARIOS.values():
        bound = scenario.bound_s()
        limit = f"bound {bound:.2f} s" if bound is not None else "no bound"
        print(f"{scenario.name:12} {scenario.about}; {scenario.file_bytes / MIB:.4g} MiB, {limit}")
    for tool in TOOLS.values():
        print(f"{tool.name:12} {tool.missing() or tool.version()}")
    return 0


def _scenario(options: argparse.Namespace) -> Scenario:
    if options.scenario == "custom":
        scenario = equal("custom", "free-form", options.receivers, options.mbit, options.mib or 64, options.seeds)
        seed_rate = options.mbit if options.seed_mbit is None else options.seed_mbit
        return replace(scenario, seeds=(Link(seed_rate, seed_rate),) * options.seeds)
    if options.scenario not in SCENARIOS:
        raise ValueError(f"no scenario {options.scenario}; there are {', '.join(SCENARIOS)}, custom")
    known = SCENARIOS[options.scenario]
    known = known.with_size(options.mib) if options.mib else known
    return known.with_files(options.files) if options.files else known


def _tools(names: str) -> list[str]:
    tools = list(TOOLS) if names == "all" else names.split(",")
    if unknown := [name for name in tools if name not in TOOLS]:
        raise ValueError(f"no tool {', '.join(unknown)}; there are {', '.join(TOOLS)}")
    return tools


def _changes(settings: Sequence[str]) -> dict[str, dict[str, object]]:
    changes: dict[str, dict[str, object]] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        tool, dot, name = key.partition(".")
        if not equals or not dot or tool not in TOOLS:
            raise ValueError(f"--set {setting}: wanted TOOL.KEY=VALUE")
        changes.setdefault(tool, {})[name] = int(value) if value.lstrip("-").isdigit() else value
    return changes


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lab.py", description="How long a tool takes to bring one file to all hosts of a shaped LAN."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the scenarios, and the tools that are installed")
    report = commands.add_parser("report", help="write table and plots again from the results")
    run = commands.add_parser("run", help="measure")
    for command in (report, run):
        command.add_argument("--results", type=Path, default=RESULTS, help="directory of the results")
    run.add_argument("scenario", help="see `list`; or custom")
    run.add_argument("-r", "--repetitions", type=int, default=1)
    run.add_argument("--tools", default="tnet", help="comma-separated, or all (default: tnet)")
    run.add_argument("--timeout", type=float, default=TIMEOUT_S, help="seconds for one run")
    run.add_argument("--set", action="append", default=[], metavar="TOOL.KEY=VALUE", help="change a tool's setting")
    run.add_argument("--mib", type=int, help="size of the file")
    run.add_argument("-n", "--files", type=int, help="tree-small, update: how many files")
    run.add_argument("--receivers", type=int, default=8, help="custom: how many")
    run.add_argument("--mbit", type=float, default=100, help="custom: rate of all links")
    run.add_argument("--seed-mbit", type=float, help="custom: rate of the seeds, if it differs")
    run.add_argument("--seeds", type=int, default=1, help="custom: how many")
    return parser
