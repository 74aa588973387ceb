"""rqbit, the BitTorrent client in Rust. It has no choking: every peer serves every other at once."""

import json
import os
import subprocess

from ..lan import Host
from .base import Account, Command
from .torrent import PEER_PORT, Torrent

API_PORT = 3030
# What it logs when every piece is there and verified.
FINISHED = b"torrent finished downloading"


class Rqbit(Torrent):
    name = "rqbit"
    programs = (os.environ.get("RQBIT", "rqbit"),)
    how_to_install = "cargo install rqbit, or give its path in RQBIT"
    # Every peer is told the addresses of all others.
    tracker = False
    settings = {"piece_kib": 512, "peer-limit": "", "worker-threads": ""}

    @classmethod
    def version(cls) -> str:
        said = subprocess.run([cls.programs[0], "--version"], check=True, capture_output=True, text=True).stdout
        return said.split()[1]

    def peer(self, host: Host) -> Command:
        directory = self.bench.directory(host)
        arguments = ["--disable-dht", "--disable-upnp-port-forward"]
        arguments += ["--listen-ip", host.address, "--listen-port", str(PEER_PORT)]
        arguments += ["--http-api-listen-addr", f"{host.address}:{API_PORT}"]
        for name in ("peer-limit", "worker-threads"):
            if self.options[name]:
                arguments += [f"--{name}", str(self.options[name])]
        peers = ",".join(f"{other.address}:{PEER_PORT}" for other in self.others(host))
        download = ["download", "--overwrite", "-o", str(directory), "--initial-peers", peers, str(self.torrent)]
        return Command([self.programs[0], *arguments, *download], {"HOME": str(directory), "NO_COLOR": "1"})

    def done(self, host: Host) -> bool:
        # Its log is a few lines; asking its HTTP interface 50 times a second would cost more than
        # the download.
        return FINISHED in self.bench.log(host).read_bytes()

    def account(self) -> Account:
        sent = [self._uploaded(seed) for seed in self.bench.seeds]
        known = [number for number in sent if number is not None]
        return Account(seed_payload=sum(known) if len(known) == len(sent) else None)

    def _uploaded(self, seed: Host) -> int | None:
        url = f"http://{seed.address}:{API_PORT}/torrents/0/stats/v1"
        command = ["ip", "netns", "exec", seed.namespace, "curl", "-s", "-m", "2", url]
        answer = subprocess.run(command, check=False, capture_output=True, text=True).stdout
        try:
            return int(json.loads(answer)["uploaded_bytes"])
        except (ValueError, KeyError):
            return None
