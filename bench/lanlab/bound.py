"""Lower bounds for any protocol. Rates are bytes per second, sizes bytes, times seconds.

Every figure the lab prints is a ratio to these, so that it does not depend on the machine.
"""

from collections.abc import Sequence
from math import floor, log2

BYTES_PER_MBIT = 1e6 / 8


def fluid_bound(file_bytes: float, seeds_up: Sequence[float], up: Sequence[float], down: Sequence[float]) -> float:
    """The least time until the last receiver has the file, if it were a fluid (Kumar & Ross 2006).

    Three things take time: the seeds must send every byte once, the slowest receiver must take every byte, and all
    uplinks together must carry one copy for each receiver. Several seeds count as one with the sum of their uplinks.
    """
    if not seeds_up or not down or len(up) != len(down):
        raise ValueError("a bound needs a seed, a receiver, and two rates for each receiver")
    seed_rate = sum(seeds_up)
    return max(
        file_bytes / seed_rate,
        file_bytes / min(down),
        len(down) * file_bytes / (seed_rate + sum(up)),
    )


def chunked_bound(file_bytes: float, rate: float, receivers: int, chunks: int) -> float:
    """The same for equal links, when a chunk is forwarded only once it is complete (Mundinger, Weber, Weiss 2008)."""
    if receivers < 1 or chunks < 1:
        raise ValueError("a bound needs a receiver and a chunk")
    return file_bytes / rate * (1 + floor(log2(receivers)) / chunks)
