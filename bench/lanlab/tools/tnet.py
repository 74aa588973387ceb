"""tnet: a coordinator and a sharing server on the first host, `get --foreground` on the receivers. No settings.

A file is in a shared directory and got by its description; a tree is added by `share`, and got by its hash.
"""

import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..content import Need
from ..lan import Host
from ..scenarios import Departure
from .base import Account, Command, StartError, Tool

REPOSITORY = Path(__file__).resolve().parents[3]
COORDINATOR_PORT = 7400
PEER_PORT = 7401
# A shared directory is looked at every two seconds.
READY_S = 20.0
TREE_HASH = re.compile(r"tree:[0-9a-f]{64}")


class Tnet(Tool):
    name = "tnet"
    # Absolute: hosts run it in directories of their own.
    programs = (str(Path(os.environ.get("TNET", REPOSITORY / "target/release/tnet")).absolute()),)
    how_to_install = "cargo build --release, or give its path in TNET"
    settings = {"chunk_size": "", "get_arguments": ""}
    can = frozenset(Need)
    can_leave = True

    @classmethod
    def version(cls) -> str:
        return _run(cls.programs[0], "--version").strip().removeprefix("tnet ")

    def prepare(self) -> None:
        for seed in self.bench.seeds:
            self._share(seed).mkdir()
        # Where a receiver's old version is, so that the new one can be told from it.
        outputs = [self.bench.output(host) for host in self.bench.receivers]
        self._before = {output: output.stat().st_ino for output in outputs if output.exists()}
        self._chunk_bytes: int | None = None
        if self._is_tree:
            return
        for seed in self.bench.seeds:
            os.link(self.bench.payload, self._share(seed) / self.bench.payload.name)
        self._wanted = str(self.bench.root / "payload.fileinfo")
        size = ["--chunk-size", str(self.options["chunk_size"])] if self.options["chunk_size"] else []
        created = _run(self.programs[0], "create", str(self.bench.payload), "-o", self._wanted, "--json", *size)
        self._chunk_bytes = int(_last_event(created)["chunk_size"])

    def start_seeds(self) -> None:
        first = self.bench.seeds[0]
        self._start(first, "coordinator", ["coordinator", "--listen", self._coordinator()])
        time.sleep(0.5)
        for seed in self.bench.seeds:
            arguments = ["start-server", "--foreground", "--dir", str(self._share(seed)), *self._network(seed)]
            self._start(seed, "server", arguments)
        self._await("connects to its coordinator", self._connected)
        if self._is_tree:
            for seed in self.bench.seeds:
                self._wanted = self._share_tree(seed)
        self._await("shares", self._shares)
        # The report to the coordinator follows at once; this is plenty.
        time.sleep(0.3)

    def receive(self, host: Host) -> Command:
        output = str(self.bench.output(host))
        arguments = ["get", self._wanted, "-o", output, "--foreground", "--json", *self._network(host)]
        if Need.UPDATE in self.bench.content.needs:
            arguments.append("--update")
        if self.bench.departure is Departure.STAY:
            arguments += ["--linger", "10m"]
        arguments += str(self.options["get_arguments"]).split()
        return Command([self.programs[0], *arguments], self._env(host))

    def done(self, host: Host) -> bool:
        output = self.bench.output(host)
        if output not in self._before:
            return output.exists()
        # The new version has taken the old one's place, and the old one is removed.
        try:
            replaced = output.stat().st_ino != self._before[output]
        except FileNotFoundError:
            return False
        return replaced and any(event.get("event") == "complete" for event in _events(self.bench.log(host).read_text()))

    def account(self) -> Account:
        account = Account(seed_payload=None if self._chunk_bytes is None else 0)
        for seed in self.bench.seeds if self._chunk_bytes is not None else []:
            for file in self._status(seed).get("files", []):
                account.seed_payload = (account.seed_payload or 0) + file["traffic"]["uploaded"] * self._chunk_bytes
        for host in self.bench.receivers:
            for event in _events(self.bench.log(host).read_text()):
                if event.get("event") == "complete":
                    account.wasted[host.index] = int(event["bytes_wasted"])
        return account

    @property
    def _is_tree(self) -> bool:
        return Need.TREE in self.bench.content.needs

    def _share_tree(self, seed: Host) -> str:
        command = [self.programs[0], "share", str(self.bench.payload)]
        said = subprocess.run(
            command, check=False, capture_output=True, text=True, env={**os.environ, **self._env(seed)}
        )
        tree = TREE_HASH.search(said.stdout)
        if said.returncode != 0 or tree is None:
            raise StartError(f"`tnet share` of a directory: {(said.stderr or said.stdout).strip()}")
        return tree.group()

    def _await(self, what: str, reached: Callable[[Host], bool]) -> None:
        deadline = time.monotonic() + READY_S
        while not all(reached(seed) for seed in self.bench.seeds):
            if time.monotonic() > deadline:
                log = self.bench.log(self.bench.seeds[0], "server.log")
                raise StartError(f"after {READY_S:g} s no seed that {what}; see {log}")
            time.sleep(0.1)

    def _connected(self, seed: Host) -> bool:
        return self._status(seed).get("coordinator_state") == "connected"

    def _shares(self, seed: Host) -> bool:
        return bool(self._status(seed).get("files"))

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
