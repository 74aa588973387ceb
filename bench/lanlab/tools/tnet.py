"""tnet: a coordinator and a sharing server on the first host, `get --foreground` on the receivers. No settings."""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from ..lan import Host
from ..scenarios import Departure
from .base import Account, Command, StartError, Tool

REPOSITORY = Path(__file__).resolve().parents[3]
COORDINATOR_PORT = 7400
PEER_PORT = 7401
# A shared directory is looked at every two seconds.
READY_S = 20.0


class Tnet(Tool):
    name = "tnet"
    # Absolute: hosts run it in directories of their own.
    programs = (str(Path(os.environ.get("TNET", REPOSITORY / "target/release/tnet")).absolute()),)
    how_to_install = "cargo build --release, or give its path in TNET"
    settings = {"chunk_size": "", "get_arguments": ""}
    can_leave = True

    @classmethod
    def version(cls) -> str:
        return _run(cls.programs[0], "--version").strip().removeprefix("tnet ")

    def prepare(self) -> None:
        for seed in self.bench.seeds:
            share = self._share(seed)
            share.mkdir()
            os.link(self.bench.payload, share / self.bench.payload.name)
        self._info = self.bench.root / "payload.fileinfo"
        size = ["--chunk-size", str(self.options["chunk_size"])] if self.options["chunk_size"] else []
        created = _run(self.programs[0], "create", str(self.bench.payload), "-o", str(self._info), "--json", *size)
        self._chunk_bytes = int(_last_event(created)["chunk_size"])

    def start_seeds(self) -> None:
        first = self.bench.seeds[0]
        self._start(first, "coordinator", ["coordinator", "--listen", self._coordinator()])
        time.sleep(0.5)
        for seed in self.bench.seeds:
            arguments = ["start-server", "--foreground", "--dir", str(self._share(seed)), *self._network(seed)]
            self._start(seed, "server", arguments)
        deadline = time.monotonic() + READY_S
        while not all(self._shares(seed) for seed in self.bench.seeds):
            if time.monotonic() > deadline:
                raise StartError(f"the seed does not share its file; see {self.bench.log(first, 'server.log')}")
            time.sleep(0.1)
        # The report to the coordinator follows the file at once; this is plenty.
        time.sleep(0.3)

    def receive(self, host: Host) -> Command:
        output = str(self.bench.output(host))
        arguments = ["get", str(self._info), "-o", output, "--foreground", "--json", *self._network(host)]
        if self.bench.departure is Departure.STAY:
            arguments += ["--linger", "10m"]
        arguments += str(self.options["get_arguments"]).split()
        return Command([self.programs[0], *arguments], self._env(host))

    def account(self) -> Account:
        account = Account(seed_payload=0)
        for seed in self.bench.seeds:
            for file in self._status(seed).get("files", []):
                account.seed_payload = (account.seed_payload or 0) + file["traffic"]["uploaded"] * self._chunk_bytes
        for host in self.bench.receivers:
            for event in _events(self.bench.log(host).read_text()):
                if event.get("event") == "complete":
                    account.wasted[host.index] = int(event["bytes_wasted"])
        return account

    def _shares(self, seed: Host) -> bool:
        status = self._status(seed)
        return status.get("coordinator_state") == "connected" and bool(status.get("files"))

    def _status(self, seed: Host) -> dict[str, Any]:
        state = str(self.bench.directory(seed) / "state")
        answer = subprocess.run(
            [self.programs[0], "status", "--json", "--state-dir", state], check=False, capture_output=True, text=True
        )
        status: dict[str, Any] = _last_event(answer.stdout).get("status", {}) if answer.returncode == 0 else {}
        return status

    def _start(self, host: Host, log: str, arguments: list[str]) -> None:
        command = [self.programs[0], *arguments]
        self.bench.processes.start(host, command, self.bench.log(host, f"{log}.log"), self._env(host))

    def _network(self, host: Host) -> list[str]:
        return ["--coordinator", self._coordinator(), "--listen", f"{host.address}:{PEER_PORT}"]

    def _coordinator(self) -> str:
        return f"{self.bench.seeds[0].address}:{COORDINATOR_PORT}"

    def _share(self, host: Host) -> Path:
        return self.bench.directory(host) / "share"

    def _env(self, host: Host) -> dict[str, str]:
        directory = self.bench.directory(host)
        return {"HOME": str(directory), "TNET_STATE_DIR": str(directory / "state")}


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _events(text: str) -> list[dict[str, Any]]:
    """The JSON lines among the output, which also has lines of the log."""
    events = []
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                events.append(json.loads(line))
            except json.JSONDecodeError:
                continue
    return events


def _last_event(text: str) -> dict[str, Any]:
    events = _events(text)
    return events[-1] if events else {}
