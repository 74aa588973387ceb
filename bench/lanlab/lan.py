"""A LAN of network namespaces: every host on one bridge, each with its own rate up and down.

A host's uplink is a token bucket on its own device, its downlink one on its port of the bridge. Nothing leaves the
machine. Everything made here carries PREFIX, and is gone when the context ends.
"""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PREFIX = "tnetlab"
SWITCH = f"{PREFIX}-switch"
DEVICE = "eth0"

# At 1 Gbit/s the kernel refills a bucket every few hundred microseconds at best: less than 128 kB
# would cap the rate.
BURST = "128kb"
# What a cheap switch buffers before it drops.
QUEUE = "40ms"

# All namespaces share one neighbour table of 1024 entries. A full mesh of 48 hosts needs more than
# two thousand; when it overflows, a host waits for addresses and looks slow.
NEIGHBOURS = 65536
# Linux's own default, whatever this machine is set to: the same for all tools.
CONGESTION_CONTROL = "cubic"
ALLOWED_CONGESTION_CONTROLS = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")

NEIGHBOUR_LIMITS = [Path(f"/proc/sys/net/ipv4/neigh/default/gc_thresh{i}") for i in (3, 2, 1)]


@dataclass(frozen=True)
class Link:
    """Rates of one host in Mbit/s; None is unshaped."""

    up_mbit: float | None
    down_mbit: float | None


@dataclass(frozen=True)
class Host:
    index: int
    link: Link

    @property
    def namespace(self) -> str:
        return f"{PREFIX}-{self.index}"

    @property
    def address(self) -> str:
        return f"10.83.{self.index // 250}.{self.index % 250 + 1}"

    @property
    def port(self) -> str:
        return f"p{self.index}"


@dataclass(frozen=True)
class Counters:
    """Bytes that a host sent and received so far, as its port of the bridge counts them."""

    sent: int
    received: int


class Lan:
    def __init__(self, links: Sequence[Link]) -> None:
        self.hosts = [Host(index, link) for index, link in enumerate(links)]
        self._holder: subprocess.Popen[bytes] | None = None
        self._settings_before: dict[Path, str] = {}

    def __enter__(self) -> "Lan":
        remove_leftovers()
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def counters(self) -> dict[int, Counters]:
        """One read for all hosts: cheap enough for ten times a second."""
        assert self._holder is not None
        return parse_counters(Path(f"/proc/{self._holder.pid}/net/dev").read_text())

    def _build(self) -> None:
        for limit in NEIGHBOUR_LIMITS:
            self._set(limit, str(NEIGHBOURS))
        # A namespace may only choose among these.
        allowed = ALLOWED_CONGESTION_CONTROLS.read_text().split()
        if CONGESTION_CONTROL not in allowed:
            self._set(ALLOWED_CONGESTION_CONTROLS, " ".join([*allowed, CONGESTION_CONTROL]))
        _ip("netns", "add", SWITCH)
        _ip("-n", SWITCH, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        _ip("-n", SWITCH, "link", "set", "br0", "up")
        # A process in the switch's namespace, so that /proc shows that namespace's counters.
        self._holder = subprocess.Popen(
            ["ip", "netns", "exec", SWITCH, "sleep", "infinity"], stdin=subprocess.DEVNULL, start_new_session=True
        )
        for host in self.hosts:
            self._plug_in(host)

    def _plug_in(self, host: Host) -> None:
        name = host.namespace
        _ip("netns", "add", name)
        _ip("link", "add", DEVICE, "netns", name, "type", "veth", "peer", "name", host.port, "netns", SWITCH)
        _ip("-n", SWITCH, "link", "set", host.port, "master", "br0", "up")
        _ip("-n", name, "addr", "add", f"{host.address}/16", "dev", DEVICE)
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "link", "set", DEVICE, "up")
        _ip("netns", "exec", name, "sysctl", "-qw", f"net.ipv4.tcp_congestion_control={CONGESTION_CONTROL}")
        # For multicast: local peer discovery finds no interface without a default route.
        _ip("-n", name, "route", "add", "default", "dev", DEVICE)
        _shape(name, DEVICE, host.link.up_mbit)
        _shape(SWITCH, host.port, host.link.down_mbit)

    def _remove(self) -> None:
        if self._holder is not None:
            self._holder.kill()
            self._holder.wait()
            self._holder = None
        remove_leftovers()
        for setting, value in reversed(list(self._settings_before.items())):
            setting.write_text(value)
        self._settings_before = {}

    def _set(self, setting: Path, value: str) -> None:
        """Until the lab is removed."""
        self._settings_before[setting] = setting.read_text()
        setting.write_text(value)


def remove_leftovers() -> None:
    """Removes the lab's namespaces with whatever still runs in them: also those of a run that was killed."""
    for namespace in _namespaces():
        for pid in _output("ip", "netns", "pids", namespace).split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        subprocess.run(["ip", "netns", "del", namespace], check=False)


def parse_counters(table: str) -> dict[int, Counters]:
    """Host index to counters, from the switch's /proc/net/dev: what a port received, its host sent."""
    counters = {}
    for line in table.splitlines()[2:]:
        port, _, columns = line.strip().partition(":")
        if port.startswith("p") and port[1:].isdigit():
            values = columns.split()
            counters[int(port[1:])] = Counters(sent=int(values[0]), received=int(values[8]))
    return counters


def _namespaces() -> list[str]:
    lines = _output("ip", "netns", "list").splitlines()
    return [name for line in lines if (name := line.split(" ")[0]).startswith(f"{PREFIX}-")]


def _shape(namespace: str, device: str, mbit: float | None) -> None:
    if mbit is not None:
        rate = f"{round(mbit * 1000)}kbit"
        command = ["tc", "-n", namespace, "qdisc", "add", "dev", device, "root", "tbf"]
        subprocess.run([*command, "rate", rate, "burst", BURST, "latency", QUEUE], check=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _output(*command: str) -> str:
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout
