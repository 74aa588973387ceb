"""libtorrent, driven by a small script: the library behind qBittorrent and Deluge.

The settings are the best of those measured in this lab; README.md says which were tried.
"""

import importlib.metadata
import importlib.util
import json
import sys
from pathlib import Path

from ..lan import Host
from .base import Account, Command
from .torrent import PEER_PORT, Torrent

SCRIPT = Path(__file__).with_name("libtorrent_peer.py")


class Libtorrent(Torrent):
    name = "libtorrent"
    how_to_install = "pip install libtorrent"
    # The script hands every peer the addresses of all others: no time goes to finding them.
    tracker = False
    carries_links = True
    settings = {
        # A piece can be passed on once it is whole: smaller ones sooner. Below 128 KiB nothing more
        # was gained.
        "piece_kib": 128,
        "super_seeding": 0,
        "unchoke_slots_limit": 4,
        # The largest single gain: with the default of 500 outstanding requests (8 MB) at each peer,
        # receivers ask the seed for pieces that others already hold by the time they are sent.
        "max_out_request_queue": 64,
        "request_queue_time": 1,
        # Seconds; the defaults of 15 and 30 are as long as a whole run.
        "unchoke_interval": 2,
        "optimistic_unchoke_interval": 4,
        # Connect at once, and again at once to a peer that was not up yet.
        "connection_speed": 500,
        "torrent_connect_boost": 255,
        "min_reconnect_time": 1,
        "max_failcount": 100,
        "smooth_connects": 0,
        # One transport, the one with the kernel behind it.
        "enable_outgoing_utp": 0,
        "enable_incoming_utp": 0,
        # No discovery: all addresses are known.
        "enable_dht": 0,
        "enable_lsd": 0,
        "enable_upnp": 0,
        "enable_natpmp": 0,
        # All hosts of the lab share a /16: without it peers would count as one network.
        "allow_multiple_connections_per_ip": 1,
    }

    @classmethod
    def missing(cls) -> str | None:
        return None if importlib.util.find_spec("libtorrent") else f"libtorrent not found: {cls.how_to_install}"

    @classmethod
    def version(cls) -> str:
        return importlib.metadata.version("libtorrent")

    def peer(self, host: Host) -> Command:
        directory = self.bench.directory(host)
        plan = {
            "torrent": str(self.torrent),
            "directory": str(directory),
            "listen": f"{host.address}:{PEER_PORT}",
            "peers": [[other.address, PEER_PORT] for other in self.others(host)],
            "seed": host in self.bench.seeds,
            "done": str(self.done_marker(host)),
            "account": str(self._account_path(host)),
            "settings": self.options,
        }
        path = directory / "plan.json"
        path.write_text(json.dumps(plan))
        # -P: this file beside the script would hide the library of the same name.
        return Command([sys.executable, "-P", str(SCRIPT), str(path)])

    def done_marker(self, host: Host) -> Path:
        return self.bench.directory(host) / "done"

    def final_account(self) -> Account | None:
        account = Account(seed_payload=0)
        for host in [*self.bench.seeds, *self.bench.receivers]:
            path = self._account_path(host)
            if not path.exists():
                return None
            said = json.loads(path.read_text())
            if host in self.bench.seeds:
                account.seed_payload = (account.seed_payload or 0) + said["uploaded"]
            else:
                account.wasted[host.index] = said["wasted"]
        return account

    def _account_path(self, host: Host) -> Path:
        return self.bench.directory(host) / "account.json"
