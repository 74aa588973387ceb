"""What the BitTorrent tools share: a .torrent file, a seed's copy of what it names, and a tracker."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from ..content import Need
from ..lan import Host
from .base import Command, Tool

TRACKER = Path(__file__).with_name("tracker.py")
PEER_PORT = 6881
TRACKER_PORT = 6969


class Torrent(Tool):
    """A tool that runs the same command on seeds and receivers; a seed finds the file already there."""

    can = frozenset({Need.TREE})
    tracker: ClassVar[bool] = True
    """Whether peers find each other through a tracker on the first host."""
    carries_links: ClassVar[bool] = False
    """Whether it makes links of a torrent's links; else they are left out, and the comparison says so."""
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
        piece_bytes = int(str(self.options["piece_kib"])) * 1024
        write_torrent(self.bench.payload, self.torrent, piece_bytes, url, self.carries_links)
        for seed in self.bench.seeds:
            # Hard links: a seed changes nothing.
            subprocess.run(["cp", "-al", self.bench.payload, self.bench.output(seed)], check=True)

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


def write_torrent(payload: Path, torrent: Path, piece_bytes: int, announce: str | None, links: bool = True) -> None:
    """A version 1 torrent of one file, or of a directory: its files one after the other, with BEP 47's attributes.

    Empty directories cannot be said.
    """
    info: dict[str, object] = {"name": payload.name, "piece length": piece_bytes}
    if payload.is_dir():
        paths = sorted(path for path in payload.rglob("*") if (links if path.is_symlink() else path.is_file()))
        info["files"] = [_file(payload, path) for path in paths]
    else:
        paths = [payload]
        info["length"] = payload.stat().st_size
    info["pieces"] = _pieces([path for path in paths if not path.is_symlink()], piece_bytes)
    torrent.write_bytes(bencode({"announce": announce, "info": info} if announce else {"info": info}))


def _file(root: Path, path: Path) -> dict[str, object]:
    """A file's entry in a torrent of a directory."""
    entry: dict[str, object] = {"path": list(path.relative_to(root).parts), "length": 0}
    if path.is_symlink():
        # From the root of the torrent.
        target = os.path.normpath(path.parent.relative_to(root) / path.readlink())
        return {**entry, "attr": "l", "symlink path": list(Path(target).parts)}
    entry["length"] = path.stat().st_size
    return {**entry, "attr": "x"} if path.stat().st_mode & 0o100 else entry


def _pieces(paths: Sequence[Path], piece_bytes: int) -> bytes:
    """SHA-1 of each piece of the files, one after the other."""
    hashes = bytearray()
    piece, filled = hashlib.sha1(), 0
    for path in paths:
        with path.open("rb") as file:
            while part := file.read(piece_bytes - filled):
                piece.update(part)
                filled += len(part)
                if filled == piece_bytes:
                    hashes += piece.digest()
                    piece, filled = hashlib.sha1(), 0
    return bytes(hashes + piece.digest() if filled else hashes)


def bencode(value: object) -> bytes:
    match value:
        case bytes():
            return b"%d:%b" % (len(value), value)
        case str():
            return bencode(value.encode())
        case int():
            return b"i%de" % value
        case list():
            return b"l" + b"".join(map(bencode, value)) + b"e"
        case dict():
            return b"d" + b"".join(bencode(key) + bencode(value[key]) for key in sorted(value)) + b"e"
    raise TypeError(f"cannot bencode a {type(value).__name__}")
