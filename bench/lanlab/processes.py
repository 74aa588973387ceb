"""The processes of one run: started in a host's namespace, measured, and ended by their ids.

CPU and memory are read from /proc while a process lives or waits to be reaped; nothing is reaped before `stop`, so a
receiver that leaves early keeps its account.
"""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .lan import Host

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Seconds between SIGTERM and SIGKILL.
GRACE_S = 3.0
# A shell that waits at a gate (a named pipe) until the other side opens it, and then becomes the
# command.
GATED = ["sh", "-c", 'read -r _ <"$0"; exec "$@"']


@dataclass
class Process:
    host: Host
    popen: subprocess.Popen[bytes]
    gate: Path | None
    peak_rss_bytes: int = 0

    def release(self) -> None:
        """Opens the gate; waits until the shell stands at it."""
        assert self.gate is not None
        os.close(os.open(self.gate, os.O_WRONLY))

    def exited(self) -> bool:
        return os.waitid(os.P_PID, self.popen.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


class Processes:
    def __init__(self) -> None:
        self._all: list[Process] = []

    def start(
        self,
        host: Host,
        command: Sequence[str],
        log: Path,
        env: Mapping[str, str] | None = None,
        gate: Path | None = None,
    ) -> Process:
        """Starts the command on the host; with a gate, it waits there for `release`."""
        if gate is not None:
            os.mkfifo(gate)
            command = [*GATED, str(gate), *command]
        with log.open("wb") as out:
            popen = subprocess.Popen(
                ["ip", "netns", "exec", host.namespace, *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        process = Process(host, popen, gate)
        self._all.append(process)
        return process

    def ended(self) -> list[Host]:
        """Hosts of which a process has ended."""
        return [process.host for process in self._all if process.exited()]

    def cpu_s(self) -> float:
        """Seconds of CPU that all processes have used so far, user and system."""
        return sum(_cpu_ticks(pid) for process in self._all for pid in _family(process.popen.pid)) / TICKS_PER_S

    def note_memory(self) -> None:
        for process in self._all:
            peak = sum(_peak_rss(pid) for pid in _family(process.popen.pid))
            process.peak_rss_bytes = max(process.peak_rss_bytes, peak)

    def peak_rss_bytes(self, hosts: Sequence[Host]) -> int:
        """The largest process on these hosts."""
        return max((process.peak_rss_bytes for process in self._all if process.host in hosts), default=0)

    def stop(self) -> None:
        """Terminates all processes, and kills those that do not end."""
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        while time.monotonic() < deadline and not all(process.exited() for process in self._all):
            time.sleep(0.05)
        self._signal(signal.SIGKILL)
        for process in self._all:
            process.popen.wait()
        self._all = []

    def _signal(self, number: signal.Signals) -> None:
        for process in self._all:
            # Each has its own session: this reaches only its children.
            with suppress(ProcessLookupError):
                os.killpg(process.popen.pid, number)


def _family(pid: int) -> list[int]:
    """The process and all its descendants."""
    family = [pid]
    for parent in family:
        try:
            for thread in os.listdir(f"/proc/{parent}/task"):
                family += map(int, Path(f"/proc/{parent}/task/{thread}/children").read_text().split())
        except OSError:
            continue
    return family


def _cpu_ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    # utime, stime, cutime, cstime: fields 14 to 17 of proc(5), counted from the state, which is
    # field 3.
    return sum(int(ticks) for ticks in fields[11:15])


def _peak_rss(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
