"""tar through a socket: no sharing, nothing verified. The cost of reading, sending and writing a tree."""

import subprocess
import sys
import time
from pathlib import Path

from ..content import Need
from ..lan import Host
from .base import Command, Tool

SERVER = Path(__file__).with_name("tar_server.py")
PORT = 7480


class Tar(Tool):
    name = "tar"
    programs = ("tar", "bash")
    how_to_install = "apt install tar bash"
    can = frozenset({Need.TREE, Need.SPARSE})
    # Records of 1 MiB: fewer calls than with the default of 10 KiB.
    settings = {"blocking_factor": 2048}

    @classmethod
    def version(cls) -> str:
        said = subprocess.run(["tar", "--version"], check=True, capture_output=True, text=True).stdout
        return said.splitlines()[0].split()[-1]

    def prepare(self) -> None:
        """Nothing: it is told everything when it starts."""

    def start_seeds(self) -> None:
        sparse = ["--sparse"] if Need.SPARSE in self.bench.content.needs else []
        payload = self.bench.payload
        send = ["tar", f"-b{self.options['blocking_factor']}", *sparse, "-C", str(payload.parent), "-c", payload.name]
        for seed in self.bench.seeds:
            server = [sys.executable, "-P", str(SERVER), seed.address, str(PORT), *send]
            self.bench.processes.start(seed, server, self.bench.log(seed))
        time.sleep(0.5)

    def receive(self, host: Host) -> Command:
        # Several seeds share the receivers evenly.
        seed = self.bench.seeds[host.index % len(self.bench.seeds)]
        extract = f"tar -b{self.options['blocking_factor']} -B -C {self.bench.directory(host)} -x"
        # bash has sockets: no program stands between the socket and tar.
        script = f"{extract} < /dev/tcp/{seed.address}/{PORT} && : > {self.finished_marker(host)}"
        return Command(["bash", "-c", script])

    done_marker = Tool.finished_marker
