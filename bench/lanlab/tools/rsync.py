"""rsync from its daemon: for trees, for updates, for sparse files. Everything of a tree is carried."""

import subprocess
import time
from typing import ClassVar

from ..content import Need
from ..lan import Host
from .base import Command, Tool

PORT = 8730
MODULE = "lab"


class Rsync(Tool):
    name = "rsync"
    programs = ("rsync",)
    how_to_install = "apt install rsync"
    can = frozenset({Need.TREE, Need.UPDATE, Need.SPARSE})
    settings = {
        # What is the same is found by sums, as tnet finds it.
        "update": "--checksum --delete",
        "image": "--inplace --no-whole-file",
        "sparse": "--sparse",
        "more": "",
    }

    @classmethod
    def version(cls) -> str:
        said = subprocess.run(["rsync", "--version"], check=True, capture_output=True, text=True).stdout
        return said.split()[2]

    def prepare(self) -> None:
        for seed in self.bench.seeds:
            directory = self.bench.directory(seed)
            (directory / "rsyncd.conf").write_text(
                f"pid file = {directory}/rsyncd.pid\nuse chroot = no\nreverse lookup = no\nuid = root\ngid = root\n"
                f"[{MODULE}]\npath = {self.bench.payload.parent}\nread only = yes\n"
            )

    def start_seeds(self) -> None:
        for seed in self.bench.seeds:
            config = self.bench.directory(seed) / "rsyncd.conf"
            command = ["rsync", "--daemon", "--no-detach", f"--config={config}", f"--port={PORT}"]
            self.bench.processes.start(seed, command, self.bench.log(seed))
        time.sleep(0.5)

    def receive(self, host: Host) -> Command:
        seed = self.bench.seeds[host.index % len(self.bench.seeds)]
        # A slash at the end: what is in the directory, not the directory in another one.
        slash = "/" if Need.TREE in self.bench.content.needs else ""
        source = f"rsync://{seed.address}:{PORT}/{MODULE}/{self.bench.payload.name}{slash}"
        command = f"rsync -a {self._options()} {self.options['more']} {source} {self.bench.output(host)}{slash}"
        return self.then_mark(host, command)

    done_marker = Tool.finished_marker

    def _options(self) -> object:
        needs = self.bench.content.needs
        if Need.UPDATE in needs:
            return self.options["update" if Need.TREE in needs else "image"]
        return self.options["sparse"] if Need.SPARSE in needs else ""


class RsyncByTimes(Rsync):
    """The same where files of the same size and time are believed to be the same."""

    name = "rsync-times"
    settings: ClassVar[dict[str, object]] = {**Rsync.settings, "update": "--delete"}
