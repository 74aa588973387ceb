"""The floor: one sendfile at the seed; receive, hash and write at the receiver. No requests, no decisions."""

import os
import subprocess
import time
from pathlib import Path

from ..lan import Host
from .base import Command, Tool

REPOSITORY = Path(__file__).resolve().parents[3]
PORT = 7490


class Floor(Tool):
    name = "floor"
    programs = (os.environ.get("TNET_FLOOR", str(REPOSITORY / "target/release/tnet-floor")),)
    how_to_install = "cargo build --release -p tnet-floor, or give its path in TNET_FLOOR"
    settings = {"chunk": 128, "buffers": 1, "threads": 1, "beside": "nothing"}

    @classmethod
    def version(cls) -> str:
        said = subprocess.run([cls.programs[0], "--version"], check=True, capture_output=True, text=True).stdout
        return said.split()[1]

    def prepare(self) -> None:
        """Nothing: it is told everything when it starts."""

    def start_seeds(self) -> None:
        for seed in self.bench.seeds:
            command = [self.programs[0], "send", f"{seed.address}:{PORT}", str(self.bench.payload)]
            self.bench.processes.start(seed, command, self.bench.log(seed))
        time.sleep(0.5)

    def receive(self, host: Host) -> Command:
        # Several seeds share the receivers evenly.
        seed = self.bench.seeds[host.index % len(self.bench.seeds)]
        output = self.bench.output(host)
        options = " ".join(f"--{name} {self.options[name]}" for name in self.settings)
        transfer = f"{self.programs[0]} receive {options} {seed.address}:{PORT} {output}.part"
        return Command(["sh", "-c", f"{transfer} && mv {output}.part {output}"])
