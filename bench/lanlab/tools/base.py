"""The interface of a tool. Each tool has a file beside this, with its best known settings."""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ..content import Content, Need
from ..lan import Host
from ..processes import Processes
from ..scenarios import Departure


@dataclass(frozen=True)
class Bench:
    """The environment of a tool in one run."""

    root: Path
    """A directory in memory; a directory for each host is below."""
    payload: Path
    """The file or directory, outside every host's directory."""
    content: Content
    seeds: list[Host]
    receivers: list[Host]
    processes: Processes
    departure: Departure

    def directory(self, host: Host) -> Path:
        path = self.root / f"host{host.index}"
        path.mkdir(exist_ok=True)
        return path

    def log(self, host: Host, name: str = "log") -> Path:
        return self.directory(host) / name

    def output(self, host: Host) -> Path:
        """Where a receiver puts it, and where an update finds the old one."""
        return self.directory(host) / self.payload.name


@dataclass(frozen=True)
class Command:
    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)


@dataclass
class Account:
    """A tool's own count of its traffic, in bytes; None where it does not report one."""

    seed_payload: int | None = None
    wasted: dict[int, int] = field(default_factory=dict)
    """Host index to bytes that arrived and were discarded."""


class StartError(Exception):
    """A tool did not start."""


class Tool(ABC):
    """A tool in one run. `prepare` and `start_seeds` happen before the clock starts."""

    name: ClassVar[str]
    programs: ClassVar[tuple[str, ...]] = ()
    """What must be installed."""
    how_to_install: ClassVar[str]
    settings: ClassVar[Mapping[str, object]] = {}
    """Defaults of what `--set TOOL.KEY=VALUE` changes."""
    can: ClassVar[frozenset[Need]] = frozenset()
    """What it carries besides one file."""
    can_leave: ClassVar[bool] = False
    """Whether its command ends by itself once others do not need it."""

    def __init__(self, bench: Bench, changes: Mapping[str, object]) -> None:
        self.bench = bench
        self.options: dict[str, object] = {**self.settings, **changes}

    @classmethod
    def missing(cls) -> str | None:
        """What to do if something is not installed; None if all is there."""
        absent = [program for program in cls.programs if shutil.which(program) is None]
        return f"{', '.join(absent)} not found: {cls.how_to_install}" if absent else None

    @classmethod
    @abstractmethod
    def version(cls) -> str: ...

    @abstractmethod
    def prepare(self) -> None:
        """Writes what seeds and receivers need."""

    @abstractmethod
    def start_seeds(self) -> None:
        """Starts the seeds and waits until they can serve."""

    @abstractmethod
    def receive(self, host: Host) -> Command:
        """What a receiver runs."""

    def done_marker(self, host: Host) -> Path:
        """A path that exists once the receiver has everything."""
        return self.bench.output(host)

    def then_mark(self, host: Host, command: str) -> Command:
        """A shell command that makes a marker when it has succeeded, for `finished_marker`."""
        return Command(["sh", "-c", f"{command} && : > {self.finished_marker(host)}"])

    def finished_marker(self, host: Host) -> Path:
        return self.bench.directory(host) / "finished"

    def done(self, host: Host) -> bool:
        """Whether the receiver has the whole file. Asked 50 times a second: one stat, no more."""
        return self.done_marker(host).exists()

    def account(self) -> Account:
        """Asked while everything still runs, after the clock has stopped."""
        return Account()

    def final_account(self) -> Account | None:
        """Asked after the end of all processes, for tools that tell as they end."""
        return None
