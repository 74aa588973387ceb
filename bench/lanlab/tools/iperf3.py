"""iperf3: one TCP stream, a file at both ends, no sharing and nothing verified. What the wire and two copies cost.

It is made for measuring, not for files: where a send is cut short it repeats or skips bytes (3.12), so the table may say that
nobody has the right ones.
"""

import subprocess
import time

from ..lan import Host
from .base import Command, Tool

FIRST_PORT = 5201


class Iperf3(Tool):
    name = "iperf3"
    programs = ("iperf3",)
    how_to_install = "apt install iperf3"

    @classmethod
    def version(cls) -> str:
        said = subprocess.run(["iperf3", "--version"], check=True, capture_output=True, text=True).stdout
        return said.split()[1]

    def prepare(self) -> None:
        """Nothing: it is told everything when it starts."""

    def start_seeds(self) -> None:
        # A server serves one receiver at a time, so each receiver has its own.
        for host in self.bench.receivers:
            seed = self._seed(host)
            command = ["iperf3", "-s", "-p", str(self._port(host)), "-F", str(self.bench.payload)]
            self.bench.processes.start(seed, command, self.bench.log(seed, f"iperf3-{host.index}.log"))
        time.sleep(0.5)

    def receive(self, host: Host) -> Command:
        output = self.bench.output(host)
        size = self.bench.payload.stat().st_size
        transfer = f"iperf3 -c {self._seed(host).address} -p {self._port(host)} -R -n {size} -F {output}.part"
        return Command(["sh", "-c", f"{transfer} && mv {output}.part {output}"])

    def _seed(self, host: Host) -> Host:
        # Several seeds share the receivers evenly.
        return self.bench.seeds[host.index % len(self.bench.seeds)]

    def _port(self, host: Host) -> int:
        return FIRST_PORT + host.index
