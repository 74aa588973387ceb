"""A BitTorrent tracker for one torrent: names every peer that has announced itself, and asks for news each second.

A public tracker says half an hour, so that receivers which start together would not learn of each other: that would
measure the tracker.
"""

import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

INTERVAL_S = 1

peers: set[bytes] = set()


class Announce(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        port = parse_qs(urlsplit(self.path).query).get("port", [""])[0]
        if not port.isdigit() or not 0 < int(port) < 1 << 16:
            self.send_error(400)
            return
        asking = socket.inet_aton(self.client_address[0]) + int(port).to_bytes(2)
        peers.add(asking)
        others = b"".join(sorted(peers - {asking}))
        answer = b"d8:intervali%de12:min intervali%de5:peers%d:%be" % (INTERVAL_S, INTERVAL_S, len(others), others)
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *values: object) -> None:
        """Suppresses the request log."""


if __name__ == "__main__":
    ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Announce).serve_forever()
