"""One libtorrent peer, seed or receiver, as the lab's plan (a JSON file) says. Ends at SIGTERM."""

import json
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import libtorrent as lt

# How often a peer is named again to those that were not up yet, and for how long.
INTRODUCE_MS = 250
INTRODUCTIONS = 12


class Ended(Exception):
    """SIGTERM."""


def main(path: str) -> None:
    plan = json.loads(Path(path).read_text())
    session = lt.session(session_settings(plan))
    parameters = lt.add_torrent_params()
    parameters.ti = lt.torrent_info(plan["torrent"])
    parameters.save_path = plan["directory"]
    # Neither paused nor queued: it starts now.
    parameters.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    if plan["seed"]:
        parameters.flags |= lt.torrent_flags.seed_mode
        if plan["settings"]["super_seeding"]:
            parameters.flags |= lt.torrent_flags.super_seeding
    torrent = session.add_torrent(parameters)
    signal.signal(signal.SIGTERM, _end)
    try:
        serve(plan, session, torrent)
    except Ended:
        status = torrent.status()
        wasted = status.total_redundant_bytes + status.total_failed_bytes
        Path(plan["account"]).write_text(json.dumps({"uploaded": status.total_payload_upload, "wasted": wasted}))


def serve(plan: dict[str, Any], session: lt.session, torrent: lt.torrent_handle) -> None:
    done = plan["seed"]
    introductions = 0
    while True:
        if introductions < INTRODUCTIONS:
            introductions += 1
            for address, port in plan["peers"]:
                torrent.connect_peer((address, port))
        # Returns at once when something happens; the process sleeps otherwise.
        session.wait_for_alert(INTRODUCE_MS if introductions < INTRODUCTIONS else 1000)
        for alert in session.pop_alerts():
            if isinstance(alert, lt.torrent_finished_alert) and not done:
                Path(plan["done"]).touch()
                done = True


def session_settings(plan: dict[str, Any]) -> dict[str, Any]:
    defaults = lt.default_settings()
    settings: dict[str, Any] = {
        "listen_interfaces": plan["listen"],
        "alert_mask": lt.alert.category_t.status_notification,
    }
    for name, value in plan["settings"].items():
        if name in defaults:
            settings[name] = bool(value) if isinstance(defaults[name], bool) else value
    return settings


def _end(number: int, frame: FrameType | None) -> None:
    raise Ended


if __name__ == "__main__":
    main(sys.argv[1])
