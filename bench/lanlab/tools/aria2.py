"""aria2, as a BitTorrent peer."""

import subprocess
from pathlib import Path

from ..lan import DEVICE, Host
from .base import Command
from .torrent import PEER_PORT, Torrent


class Aria2(Torrent):
    name = "aria2"
    programs = ("aria2c",)
    how_to_install = "apt install aria2"
    settings = {
        # Smaller pieces can be passed on sooner: 2.2 of the bound where 512 KiB print 2.8.
        "piece_kib": 128,
        # No limit: the default, 55 peers, is also the number below which it looks for more.
        "bt-max-peers": 0,
        # Always look for a faster peer.
        "bt-request-peer-speed-limit": "100M",
        # Its own rule is two minutes at least: receivers that start together would not learn of
        # each other.
        "bt-tracker-interval": 1,
        "bt-enable-lpd": "true",
        "enable-dht": "false",
        # Into memory: allocation would only cost time.
        "file-allocation": "none",
        "disk-cache": "64M",
        "seed-ratio": 0,
    }

    @classmethod
    def version(cls) -> str:
        said = subprocess.run(["aria2c", "--version"], check=True, capture_output=True, text=True).stdout
        return said.split()[2]

    def peer(self, host: Host) -> Command:
        directory = self.bench.directory(host)
        hook = directory / "hook.sh"
        hook.write_text(f"#!/bin/sh\n: > {self.done_marker(host)}\n")
        hook.chmod(0o755)
        arguments = [f"--{name}={value}" for name, value in self.options.items() if name != "piece_kib"]
        if host in self.bench.seeds:
            # The file is right: it was just made.
            arguments += ["--bt-seed-unverified=true", "--check-integrity=false"]
        arguments += [
            "--show-console-readout=false",
            "--summary-interval=0",
            "--no-conf",
            f"--interface={host.address}",
            f"--bt-lpd-interface={DEVICE}",
            f"--listen-port={PEER_PORT}",
            f"--on-bt-download-complete={hook}",
            f"--dir={directory}",
            str(self.torrent),
        ]
        return Command(["aria2c", *arguments], {"HOME": str(directory)})

    def done_marker(self, host: Host) -> Path:
        return self.bench.directory(host) / "done"
