"""The result of a run, and its JSON lines."""

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class HostResult:
    """One host. Times are seconds of the run's clock; seeds have no end."""

    role: str
    """`seed`, `receiver`, or `slow` for a receiver that is reported on its own."""
    up_mbit: float | None
    down_mbit: float | None
    wire_sent: int
    wire_received: int
    start_s: float | None = None
    end_s: float | None = None
    left_s: float | None = None
    """When its command ended by itself."""
    verified: bool = False
    """Whether every file has its bytes."""
    wasted_bytes: int | None = None
    exact: bool | None = None
    """Whether also kinds, modes and holes are right; None where one plain file is the whole content."""
    difference: str = ""
    """The first one that was found."""

    @property
    def took_s(self) -> float | None:
        return None if self.end_s is None or self.start_s is None else self.end_s - self.start_s


@dataclass
class Result:
    scenario: str
    tool: str
    version: str
    settings: dict[str, Any]
    repetition: int
    at: str
    """When, UTC."""
    machine: str
    file_bytes: int
    """What each receiver lacked: the content, or what is new of it."""
    bound_s: float | None
    hosts: list[HostResult]
    cpu_s: float
    """All processes, from the first start to the last end."""
    seed_rss_bytes: int
    receiver_rss_bytes: int
    """The largest process among the receivers; a mapped file counts."""
    seed_payload_bytes: int | None = None
    timed_out: bool = False
    samples: str | None = None
    """File of the link samples, beside the results."""

    def receivers(self, role: str | None = None) -> list[HostResult]:
        return [host for host in self.hosts if host.role != "seed" and (role is None or host.role == role)]

    def took_s(self, role: str | None = None) -> list[float]:
        """How long each receiver needed, sorted; without those that did not finish."""
        return sorted(took for host in self.receivers(role) if (took := host.took_s) is not None)

    def last_s(self, role: str | None = None) -> float | None:
        """The last receiver's time; None unless all finished."""
        took = self.took_s(role)
        return took[-1] if took and len(took) == len(self.receivers(role)) else None

    def last_ratio(self, role: str | None = None) -> float | None:
        last = self.last_s(role)
        return last / self.bound_s if last is not None and self.bound_s else None

    def median_ratio(self) -> float | None:
        took = self.took_s()
        return statistics.median(took) / self.bound_s if took and self.bound_s else None

    @property
    def delivered_bytes(self) -> int:
        return len(self.took_s()) * self.file_bytes

    @property
    def verified(self) -> int:
        return sum(host.verified for host in self.receivers())

    @property
    def exact(self) -> int | None:
        """Receivers in whose copy also kinds, modes and holes are right."""
        known = [host.exact for host in self.receivers() if host.exact is not None]
        return sum(known) if known else None

    @property
    def wire_bytes(self) -> int:
        """What all hosts sent: payload, requests, acknowledgements."""
        return sum(host.wire_sent for host in self.hosts)

    def cpu_s_per_gib(self) -> float | None:
        return self.cpu_s / (self.delivered_bytes / (1 << 30)) if self.delivered_bytes else None

    def seed_copies_wire(self) -> float:
        return sum(host.wire_sent for host in self.hosts if host.role == "seed") / self.file_bytes

    def seed_copies_payload(self) -> float | None:
        return None if self.seed_payload_bytes is None else self.seed_payload_bytes / self.file_bytes

    def wasted_percent(self) -> float | None:
        """Bytes that arrived and were discarded (duplicate or wrong), in per cent of the delivered ones."""
        wasted = [host.wasted_bytes for host in self.receivers() if host.wasted_bytes is not None]
        return 100 * sum(wasted) / self.delivered_bytes if wasted and self.delivered_bytes else None

    def to_json(self) -> dict[str, Any]:
        """The fields, and the figures that follow from them for readers of the file."""
        return {
            **asdict(self),
            "last_s": _rounded(self.last_s()),
            "last_ratio": _rounded(self.last_ratio()),
            "median_ratio": _rounded(self.median_ratio()),
            "finished": len(self.took_s()),
            "verified": self.verified,
            "exact": self.exact,
            "wire_bytes": self.wire_bytes,
            "seed_copies_wire": _rounded(self.seed_copies_wire()),
            "seed_copies_payload": _rounded(self.seed_copies_payload()),
            "wasted_percent": _rounded(self.wasted_percent()),
            "cpu_s_per_gib": _rounded(self.cpu_s_per_gib()),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Result":
        fields = {name: value[name] for name in cls.__dataclass_fields__ if name in value}
        fields["hosts"] = [HostResult(**host) for host in value["hosts"]]
        return cls(**fields)


@dataclass
class Skipped:
    """A requested tool that did not run: the table names it, and never omits it silently."""

    scenario: str
    tool: str
    reason: str
    skipped: bool = field(default=True)


def write(path: Path, entry: Result | Skipped) -> None:
    """Appends one line."""
    value = entry.to_json() if isinstance(entry, Result) else asdict(entry)
    with path.open("a") as file:
        file.write(json.dumps(value) + "\n")


def read(paths: Iterable[Path]) -> tuple[list[Result], list[Skipped]]:
    results, skipped = [], []
    for path in paths:
        for line in path.read_text().splitlines():
            value = json.loads(line)
            if value.get("skipped"):
                skipped.append(Skipped(**value))
            else:
                results.append(Result.from_json(value))
    return results, skipped


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
