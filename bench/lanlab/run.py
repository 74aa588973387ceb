"""One run: a LAN, a tool, a file, a clock; produces one result and cleans everything up."""

import json
import os
import platform
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .content import Verdict
from .content.base import MIB
from .lan import Counters, Host, Lan
from .processes import Process, Processes
from .result import HostResult, Result
from .sampler import Sampler, Samples
from .scenarios import Scenario
from .tools import Account, Bench, StartError, Tool

ROOT = Path("/dev/shm/tnetlab")
POLL_S = 0.02
# Looking at many processes costs time of their own.
MEMORY_POLL_S, MEMORY_POLL_FEW_S, FEW = 0.5, 0.1, 4
# The part of free memory that is touched at most before the clock starts.
WARM_PART = 0.6


@dataclass(frozen=True)
class Plan:
    scenario: Scenario
    tool: type[Tool]
    changes: Mapping[str, object]
    repetition: int
    timeout_s: float
    logs: Path
    """Where the logs go if not all receivers finish."""


@dataclass
class Race:
    """The measured times."""

    ends: dict[int, float] = field(default_factory=dict)
    left: dict[int, float] = field(default_factory=dict)
    cpu_s: float = 0.0
    wire: dict[int, Counters] = field(default_factory=dict)
    samples: Samples = field(default_factory=Samples)


def run(plan: Plan) -> tuple[Result, Samples]:
    scenario = plan.scenario
    with _directory() as root, Lan(scenario.links) as lan:
        seeds, receivers = lan.hosts[: len(scenario.seeds)], lan.hosts[len(scenario.seeds) :]
        payload = root / scenario.content.name
        scenario.content.make(payload)
        processes = Processes()
        race = None
        try:
            bench = Bench(root, payload, scenario.content, seeds, receivers, processes, scenario.departure)
            tool = plan.tool(bench, plan.changes)
            for host in receivers:
                scenario.content.make_before(bench.output(host))
            tool.prepare()
            tool.start_seeds()
            if processes.ended():
                raise StartError(f"{plan.tool.name} ended on a seed; its log is in {plan.logs}")
            waiting = [_at_the_gate(tool, host) for host in receivers]
            warm_memory(root, (len(receivers) + 1) * scenario.content.stored_bytes // MIB)
            race = _race(plan, lan, tool, waiting)
            account = tool.account()
            processes.note_memory()
            rss = [processes.peak_rss_bytes(hosts) for hosts in (seeds, receivers)]
        finally:
            processes.stop()
            if race is None or len(race.ends) < len(receivers):
                keep_logs(root, plan.logs / f"{scenario.name}-{plan.tool.name}")
        account = tool.final_account() or account
        verdicts = {host.index: scenario.content.compare(payload, bench.output(host)) for host in receivers}
        return _result(plan, lan, race, account, verdicts, rss), race.samples


def _at_the_gate(tool: Tool, host: Host) -> Process:
    """A receiver, started up to its gate: what follows the gate's opening is the tool's own time."""
    bench = tool.bench
    command = tool.receive(host)
    return bench.processes.start(host, command.argv, bench.log(host), command.env, bench.directory(host) / "gate")


def _race(plan: Plan, lan: Lan, tool: Tool, waiting: list[Process]) -> Race:
    race = Race()
    processes = tool.bench.processes
    starts = list(zip(plan.scenario.starts_s(), waiting, strict=True))
    running: dict[int, Process] = {}
    before, cpu_before = lan.counters(), processes.cpu_s()
    clock = time.monotonic()
    memory_due = 0.0
    with Sampler(lan, clock) as sampler:
        while len(race.ends) < len(waiting) and time.monotonic() - clock < plan.timeout_s:
            while starts and time.monotonic() - clock >= starts[0][0]:
                process = starts.pop(0)[1]
                process.release()
                running[process.host.index] = process
            for index, process in running.items():
                if index not in race.ends and tool.done(process.host):
                    race.ends[index] = time.monotonic() - clock
                elif index in race.ends and index not in race.left and process.exited():
                    race.left[index] = time.monotonic() - clock
            if time.monotonic() - clock >= memory_due:
                processes.note_memory()
                memory_due += MEMORY_POLL_FEW_S if len(waiting) <= FEW else MEMORY_POLL_S
            time.sleep(POLL_S)
        race.cpu_s = processes.cpu_s() - cpu_before
        after = lan.counters()
    race.wire = {
        index: Counters(after[index].sent - zero.sent, after[index].received - zero.received)
        for index, zero in before.items()
    }
    race.samples = sampler.samples
    return race


def _result(plan: Plan, lan: Lan, race: Race, account: Account, verdicts: dict[int, Verdict], rss: list[int]) -> Result:
    scenario, seeds = plan.scenario, len(plan.scenario.seeds)
    starts = scenario.starts_s()
    hosts = []
    for host in lan.hosts:
        number, wire = host.index - seeds, race.wire[host.index]
        verdict = verdicts.get(host.index) if host.index in race.ends else None
        role = "seed" if number < 0 else "slow" if number in scenario.slow else "receiver"
        hosts.append(
            HostResult(
                role=role,
                up_mbit=host.link.up_mbit,
                down_mbit=host.link.down_mbit,
                wire_sent=wire.sent,
                wire_received=wire.received,
                start_s=None if number < 0 else starts[number],
                end_s=_rounded(race.ends.get(host.index)),
                left_s=_rounded(race.left.get(host.index)),
                verified=verdict is not None and verdict.bytes_right,
                exact=verdict.exact if verdict is not None and scenario.content.needs else None,
                difference=verdict.difference if verdict is not None else "",
                wasted_bytes=account.wasted.get(host.index),
            )
        )
    return Result(
        scenario=scenario.name,
        tool=plan.tool.name,
        version=plan.tool.version(),
        settings={**plan.tool.settings, **plan.changes},
        repetition=plan.repetition,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=f"{os.cpu_count()} cores, Linux {platform.release()}",
        file_bytes=scenario.file_bytes,
        bound_s=scenario.bound_s(),
        hosts=hosts,
        cpu_s=round(race.cpu_s, 2),
        seed_rss_bytes=rss[0],
        receiver_rss_bytes=rss[1],
        seed_payload_bytes=account.seed_payload,
        timed_out=len(race.ends) < len(scenario.receivers),
    )


@contextmanager
def _directory() -> Iterator[Path]:
    shutil.rmtree(ROOT, ignore_errors=True)
    ROOT.mkdir(parents=True)
    try:
        yield ROOT
    finally:
        shutil.rmtree(ROOT, ignore_errors=True)


def keep_logs(root: Path, directory: Path) -> None:
    """Copies what the processes of each host printed."""
    shutil.rmtree(directory, ignore_errors=True)
    for log in [*root.glob("host*/log"), *root.glob("host*/*.log")]:
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copy(log, directory / f"{log.parent.name}-{log.name}")


def warm_memory(root: Path, mib: int) -> None:
    """Touches as much memory as the run will fill, and gives it back.

    On a virtual machine the first touch of a page takes a trip to the host, and would be charged to whichever tool
    happens to run first.
    """
    path = root / "warm"
    with path.open("wb") as file:
        block = b"x" * MIB
        for _ in range(min(mib, int(_available_mib() * WARM_PART))):
            file.write(block)
    path.unlink()


def _available_mib() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    return 0


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def write_samples(path: Path, result: Result, samples: Samples) -> None:
    """The samples with the rates, so that the plot needs nothing else."""
    links: list[dict[str, Any]] = [
        {"role": host.role, "up_mbit": host.up_mbit, "down_mbit": host.down_mbit} for host in result.hosts
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    heading = {"scenario": result.scenario, "tool": result.tool, "bound_s": result.bound_s, "hosts": links}
    path.write_text(json.dumps({**heading, **samples.to_json()}))
