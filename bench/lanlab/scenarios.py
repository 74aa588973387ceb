"""The named scenarios: the links of the hosts, when receivers start, and when they leave."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from .bound import BYTES_PER_MBIT, fluid_bound
from .content import BigTree, Content, OneFile, SmallTree, SparseImage, UpdatedImage, UpdatedTree
from .lan import Link


class Arrival(Enum):
    TOGETHER = "together"
    """All receivers start at once; the clock of all starts there."""
    ONE_BY_ONE = "one by one"
    """One more each second; each receiver's clock starts with itself."""


class Departure(Enum):
    STAY = "stay"
    """Receivers serve until the last one is done."""
    LEAVE = "leave"
    """Each receiver ends when its command ends by itself."""


# Between two receivers that arrive one by one.
ARRIVAL_INTERVAL_S = 1.0


@dataclass(frozen=True)
class Scenario:
    name: str
    about: str
    receivers: tuple[Link, ...]
    seeds: tuple[Link, ...]
    content: Content
    arrival: Arrival = Arrival.TOGETHER
    departure: Departure = Departure.STAY
    slow: frozenset[int] = frozenset()
    """Receivers (numbers among the receivers) that are reported on their own."""

    @property
    def file_bytes(self) -> int:
        """What each receiver lacks."""
        return self.content.news_bytes

    @property
    def links(self) -> list[Link]:
        """All hosts: the seeds first."""
        return [*self.seeds, *self.receivers]

    def bound_s(self) -> float | None:
        """The fluid bound; None where a link is unshaped.

        For receivers that arrive one by one it is the least time of one receiver from its own start: its downlink.
        """
        seeds_up = _bytes_per_s([link.up_mbit for link in self.seeds])
        up = _bytes_per_s([link.up_mbit for link in self.receivers])
        down = _bytes_per_s([link.down_mbit for link in self.receivers])
        if seeds_up is None or up is None or down is None:
            return None
        if self.arrival is Arrival.ONE_BY_ONE:
            return self.file_bytes / min(down)
        return fluid_bound(self.file_bytes, seeds_up, up, down)

    def starts_s(self) -> list[float]:
        """When each receiver starts, in seconds of the clock."""
        step = ARRIVAL_INTERVAL_S if self.arrival is Arrival.ONE_BY_ONE else 0.0
        return [number * step for number in range(len(self.receivers))]

    def with_size(self, mib: int) -> "Scenario":
        return replace(self, content=self.content.with_size(mib))

    def with_files(self, files: int) -> "Scenario":
        """Under a name of its own: its figures are another row."""
        return replace(
            self,
            name=f"{self.name}-{files}",
            about=f"{self.about}, {files} files",
            content=self.content.with_files(files),
        )


def equal(
    name: str, about: str, receivers: int, mbit: float | None, content: Content | int, seeds: int = 1
) -> Scenario:
    """All links alike; mbit None is unshaped. A number as content is one file of so many MiB."""
    link = Link(mbit, mbit)
    content = OneFile(content) if isinstance(content, int) else content
    return Scenario(name, about, (link,) * receivers, (link,) * seeds, content)


def _all() -> list[Scenario]:
    lan16 = equal("lan16", "16 receivers x 100 Mbit/s", 16, 100, 128)
    fast, slow_up = Link(100, 100), Link(10, 100)
    return [
        equal("lan8", "8 receivers x 100 Mbit/s: a quick look", 8, 100, 64),
        lan16,
        equal("lan16-half", "lan16 at half the rate: the ratio stays if the machine is fast enough", 16, 50, 128),
        equal("lan16-big", "lan16 with a larger file", 16, 100, 512),
        equal("lan48", "48 receivers x 25 Mbit/s", 48, 25, 64),
        replace(lan16, name="slow-seed", about="lan16, the seed with 50 Mbit/s", seeds=(Link(50, 50),)),
        replace(
            lan16,
            name="slow-up",
            about="lan16, two receivers with 10 Mbit/s up",
            receivers=(slow_up,) * 2 + (fast,) * 14,
            slow=frozenset({0, 1}),
        ),
        replace(lan16, name="joining", about="lan16, one receiver more each second", arrival=Arrival.ONE_BY_ONE),
        replace(
            lan16,
            name="leaving",
            about="lan16, each receiver ends as soon as its command ends by itself",
            departure=Departure.LEAVE,
        ),
        replace(lan16, name="two-seeds", about="lan16 with two seeds", seeds=(fast,) * 2),
        equal("one", "one receiver, nothing shaped", 1, None, 1024),
        equal("one-from-4", "one receiver, four seeds, nothing shaped", 1, None, 1024, seeds=4),
        equal("four", "four receivers, one seed, nothing shaped", 4, None, 1024),
        equal("lan16-small", "lan16 with a small file", 16, 100, 8),
        equal("tree-big", "60 files, one receiver, nothing shaped", 1, None, BigTree(60, 2048)),
        equal("tree-big16", "60 files, 16 receivers x 100 Mbit/s", 16, 100, BigTree(60, 512)),
        equal("tree-small", "many small files, one receiver, nothing shaped", 1, None, SmallTree(20_000)),
        equal("tree-small16", "many small files, 16 receivers x 100 Mbit/s", 16, 100, SmallTree(20_000)),
        equal("update", "many small files, some changed, renamed, deleted, new", 1, None, UpdatedTree(20_000)),
        equal("update-image", "an image of 1 GiB, 200 blocks of 4 KiB changed", 1, None, UpdatedImage(1024, 200)),
        equal("sparse", "an image of 8 GiB with 300 MiB of data", 1, None, SparseImage(8192, 300, 200)),
    ]


SCENARIOS = {scenario.name: scenario for scenario in _all()}


def _bytes_per_s(rates_mbit: Sequence[float | None]) -> list[float] | None:
    known = [rate for rate in rates_mbit if rate is not None]
    return [rate * BYTES_PER_MBIT for rate in known] if len(known) == len(rates_mbit) else None
