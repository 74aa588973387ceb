"""Transmission, by its command line client."""

import json
import subprocess

from ..lan import Host
from .base import Command
from .torrent import PEER_PORT, Torrent


class Transmission(Torrent):
    name = "transmission"
    programs = ("transmission-cli",)
    how_to_install = "apt install transmission-cli"
    # It checks the seed's file, and announces itself to the LAN only some seconds after the start.
    ready_s = 6.0
    settings = {
        "piece_kib": 512,
        # Of 2, 4 and 8; with any of them receivers hardly pass anything on before they are done.
        "upload-slots-per-torrent": 8,
        "peer-limit-per-torrent": 100,
        "peer-limit-global": 200,
        "dht-enabled": 0,
        "lpd-enabled": 1,
        "pex-enabled": 1,
        "utp-enabled": 0,
        # Into memory: allocation would only cost time.
        "preallocation": 0,
        # A file in progress is called .part: its final name says that it is whole.
        "rename-partial-files": 1,
    }

    @classmethod
    def version(cls) -> str:
        said = subprocess.run(["transmission-cli", "--version"], check=False, capture_output=True, text=True)
        return (said.stdout + said.stderr).split()[1]

    def peer(self, host: Host) -> Command:
        directory = self.bench.directory(host)
        config = directory / "config"
        config.mkdir()
        settings = {name: _typed(name, value) for name, value in self.options.items() if name != "piece_kib"}
        settings["bind-address-ipv4"] = host.address
        (config / "settings.json").write_text(json.dumps(settings))
        arguments = ["-g", str(config), "-w", str(directory), "-p", str(PEER_PORT), "-M", "-U", "-D", "-et"]
        return Command(["transmission-cli", *arguments, str(self.torrent)], {"HOME": str(directory)})


def _typed(name: str, value: object) -> object:
    return bool(value) if name.endswith(("-enabled", "-files")) else value
