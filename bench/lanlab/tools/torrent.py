"""What the BitTorrent tools share: a .torrent file, a seed's copy of the file, and a tracker."""

import hashlib
import os
import sys
import time
from pathlib import Path
from typing import ClassVar

from ..lan import Host
from .base import Command, Tool

TRACKER = Path(__file__).with_name("tracker.py")
PEER_PORT = 6881
TRACKER_PORT = 6969


class Torrent(Tool):
    """A tool that runs the same command on seeds and receivers; a seed finds the file already there."""

    tracker: ClassVar[bool] = True
    """Whether peers find each other through a tracker on the first host."""
    ready_s: ClassVar[float] = 3.0
    """What a seed needs to check its file and to announce itself."""

    def peer(self, host: Host) -> Command:
        """What every host runs."""
        raise NotImplementedError

    @property
    def torrent(self) -> Path:
        return self.bench.root / "payload.torrent"

    def prepare(self) -> None:
        url = f"http://{self.bench.seeds[0].address}:{TRACKER_PORT}/announce" if self.tracker else None
        write_torrent(self.bench.payload, self.torrent, int(str(self.options["piece_kib"])) * 1024, url)
        for seed in self.bench.seeds:
            os.link(self.bench.payload, self.bench.output(seed))

    def start_seeds(self) -> None:
        first = self.bench.seeds[0]
        if self.tracker:
            tracker = [sys.executable, "-P", str(TRACKER), first.address, str(TRACKER_PORT)]
            self.bench.processes.start(first, tracker, self.bench.log(first, "tracker.log"))
        for seed in self.bench.seeds:
            command = self.peer(seed)
            self.bench.processes.start(seed, command.argv, self.bench.log(seed), command.env)
        time.sleep(self.ready_s)

    def receive(self, host: Host) -> Command:
        return self.peer(host)

    def others(self, host: Host) -> list[Host]:
        return [other for other in [*self.bench.seeds, *self.bench.receivers] if other != host]


def write_torrent(payload: Path, torrent: Path, piece_bytes: int, announce: str | None) -> None:
    """A version 1 torrent of one file."""
    hashes = bytearray()
    with payload.open("rb") as file:
        while piece := file.read(piece_bytes):
            hashes += hashlib.sha1(piece).digest()
    info = {
        "length": payload.stat().st_size,
        "name": payload.name,
        "piece length": piece_bytes,
        "pieces": bytes(hashes),
    }
    torrent.write_bytes(bencode({"announce": announce, "info": info} if announce else {"info": info}))


def bencode(value: object) -> bytes:
    match value:
        case bytes():
            return b"%d:%b" % (len(value), value)
        case str():
            return bencode(value.encode())
        case int():
            return b"i%de" % value
        case dict():
            return b"d" + b"".join(bencode(key) + bencode(value[key]) for key in sorted(value)) + b"e"
    raise TypeError(f"cannot bencode a {type(value).__name__}")
