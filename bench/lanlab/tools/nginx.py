"""nginx and curl: one server, no sharing, nothing verified. What a plain download costs.

Of a tree, curl fetches many files at once from a list; links, modes and empty directories are not carried.
"""

import subprocess
import time

from ..content import Need
from ..content.compare import entries
from ..lan import Host
from .base import Command, Tool

PORT = 8080


class Nginx(Tool):
    name = "nginx+curl"
    programs = ("nginx", "curl")
    how_to_install = "apt install nginx-light curl"
    can = frozenset({Need.TREE})
    settings = {
        # Connections of one curl.
        "parallel": 16
    }

    @classmethod
    def version(cls) -> str:
        said = subprocess.run(["nginx", "-v"], check=True, capture_output=True, text=True).stderr
        return said.strip().rpartition("/")[2]

    def prepare(self) -> None:
        for seed in self.bench.seeds:
            directory = self.bench.directory(seed)
            # tcp_nopush and sendfile: whole segments, and no copy through the server's memory.
            (directory / "nginx.conf").write_text(
                f"daemon off; worker_processes 2; user root; pid {directory}/pid; error_log {directory}/errors;"
                "events { worker_connections 1024; }"
                "http { access_log off; sendfile on; tcp_nopush on; sendfile_max_chunk 2m; keepalive_requests 1000000;"
                f" server {{ listen {PORT}; root {self.bench.payload.parent}; }} }}"
            )

    def start_seeds(self) -> None:
        for seed in self.bench.seeds:
            config = self.bench.directory(seed) / "nginx.conf"
            self.bench.processes.start(seed, ["nginx", "-c", str(config)], self.bench.log(seed))
        time.sleep(1.0)

    def receive(self, host: Host) -> Command:
        # Several seeds share the receivers evenly.
        seed = self.bench.seeds[host.index % len(self.bench.seeds)]
        output = self.bench.output(host)
        url = f"http://{seed.address}:{PORT}/{self.bench.payload.name}"
        if Need.TREE not in self.bench.content.needs:
            return self.then_mark(host, f"curl -sS -o {output}.part {url} && mv {output}.part {output}")
        files = self.bench.directory(host) / "files"
        with files.open("w") as lines:
            for path, kind in entries(self.bench.payload).items():
                if kind.startswith("file"):
                    lines.write(f'url = "{url}/{path}"\noutput = "{output}/{path}"\n')
        parallel = f"-Z --parallel-immediate --parallel-max {self.options['parallel']}"
        return self.then_mark(host, f"curl -sS {parallel} --create-dirs -K {files}")

    done_marker = Tool.finished_marker
