"""The counters of every link, ten times a second, for the utilisation plot."""

import threading
import time
from dataclasses import asdict, dataclass, field

from .lan import Lan

INTERVAL_S = 0.1


@dataclass
class Samples:
    """Bytes since the start of the clock: row t is the moment times[t] (seconds), column h is host h."""

    times: list[float] = field(default_factory=list)
    sent: list[list[int]] = field(default_factory=list)
    received: list[list[int]] = field(default_factory=list)

    def to_json(self) -> dict[str, object]:
        return asdict(self)


class Sampler:
    def __init__(self, lan: Lan, start: float) -> None:
        self.samples = Samples()
        self._lan = lan
        self._start = start
        self._zero = lan.counters()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        due = self._start
        while not self._stop.is_set():
            self._sample()
            due = max(due + INTERVAL_S, time.monotonic())
            self._stop.wait(due - time.monotonic())
        self._sample()

    def _sample(self) -> None:
        now = self._lan.counters()
        self.samples.times.append(round(time.monotonic() - self._start, 4))
        self.samples.sent.append([now[h].sent - zero.sent for h, zero in sorted(self._zero.items())])
        self.samples.received.append([now[h].received - zero.received for h, zero in sorted(self._zero.items())])
