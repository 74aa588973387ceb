"""Several runs in a row: which tools, how often, and where the results go."""

import fcntl
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from .report import summary
from .result import Result, Skipped, write
from .run import Plan, run, write_samples
from .scenarios import Departure, Scenario
from .tools import TOOLS, StartError, Tool

# Two labs on one machine would disturb each other, and would remove each other's namespaces.
LOCK = Path(os.environ.get("TNETLAB_LOCK", "/run/lock/tnetlab.lock"))


@dataclass(frozen=True)
class Campaign:
    results: Path
    repetitions: int
    timeout_s: float
    changes: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Tool to its changed settings."""

    def measure(self, scenario: Scenario, tools: Sequence[str]) -> None:
        """All tools once, then all again, so that changes on the machine affect all of them."""
        self.results.mkdir(parents=True, exist_ok=True)
        ready = [TOOLS[name] for name in tools if not self._skipped(scenario, TOOLS[name])]
        for repetition in range(self.repetitions):
            for tool in ready:
                self._run(scenario, tool, repetition)

    def _run(self, scenario: Scenario, tool: type[Tool], repetition: int) -> None:
        plan = Plan(scenario, tool, self.changes.get(tool.name, {}), repetition, self.timeout_s, self.results / "logs")
        try:
            with _alone():
                result, samples = run(plan)
        except StartError as error:
            print(error, file=sys.stderr)
            self._note(Skipped(scenario.name, tool.name, "did not start"))
            return
        samples_path = Path("samples") / f"{scenario.name}-{tool.name}-{repetition}.json"
        write_samples(self.results / samples_path, result, samples)
        result.samples = str(samples_path)
        self._note(result)

    def _skipped(self, scenario: Scenario, tool: type[Tool]) -> bool:
        reason = None
        if missing := tool.missing():
            print(f"{tool.name}: {missing}", file=sys.stderr)
            reason = "not installed"
        elif scenario.departure is Departure.LEAVE and not tool.can_leave:
            reason = "does not end by itself"
        elif beyond := scenario.content.needs - tool.can:
            reason = f"carries no {', '.join(sorted(need.value for need in beyond))}"
        if reason is not None:
            self._note(Skipped(scenario.name, tool.name, reason))
        return reason is not None

    def _note(self, entry: Result | Skipped) -> None:
        write(self.results / f"{entry.scenario}.jsonl", entry)
        print(summary(entry), flush=True)


@contextmanager
def _alone() -> Iterator[None]:
    """One run at a time on this machine; waits for the other's end."""
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def end_in_order() -> None:
    """The first signal unwinds like Ctrl-C, so that everything is cleaned up; further ones are ignored."""
    ending = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def interrupted(number: int, frame: FrameType | None) -> None:
        for other in ending:
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in ending:
        signal.signal(number, interrupted)
