"""The pure parts of lan and tools: counters, and a torrent that BitTorrent would accept."""

import hashlib
import tempfile
import unittest
from pathlib import Path

from lanlab.cli import _changes
from lanlab.lan import Counters, parse_counters
from lanlab.tools.torrent import bencode, write_torrent

# Columns of the kernel's table: bytes received are the first, bytes sent the ninth.
PROC_NET_DEV = """Inter-|   Receive
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
   br0: 999 9 0 0 0 0 0 0 99 9 0 0 0 0 0 0
    p0: 1000 10 0 0 0 0 0 0 50 1 0 0 0 0 0 0
   p12: 70 1 0 0 0 0 0 0 2000 20 0 0 0 0 0 0
"""


class CountersOfTheSwitch(unittest.TestCase):
    def test_what_a_port_received_its_host_sent(self) -> None:
        self.assertEqual(parse_counters(PROC_NET_DEV), {0: Counters(1000, 50), 12: Counters(70, 2000)})


class Torrents(unittest.TestCase):
    def test_bencode_sorts_keys_and_counts_bytes(self) -> None:
        self.assertEqual(bencode({"b": 1, "a": "xy", "c": {"z": b"\0"}}), b"d1:a2:xy1:bi1e1:cd1:z1:\0ee")

    def test_a_torrent_has_one_hash_for_each_piece_and_the_short_last_one(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            payload, torrent = Path(name) / "payload.bin", Path(name) / "t"
            payload.write_bytes(b"a" * 20 + b"b")
            write_torrent(payload, torrent, 20, "http://h/announce")
            pieces = hashlib.sha1(b"a" * 20).digest() + hashlib.sha1(b"b").digest()
            self.assertIn(b"6:pieces40:" + pieces, torrent.read_bytes())
            self.assertIn(b"6:lengthi21e", torrent.read_bytes())

    def test_a_torrent_of_a_directory_hashes_its_files_as_one_and_says_what_they_are(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            payload, torrent = Path(name) / "payload", Path(name) / "t"
            (payload / "d").mkdir(parents=True)
            (payload / "d/a").write_bytes(b"a" * 15)
            (payload / "e").write_bytes(b"b" * 6)
            (payload / "e").chmod(0o755)
            (payload / "d/l").symlink_to("../e")
            write_torrent(payload, torrent, 20, None)
            said = torrent.read_bytes()
            pieces = hashlib.sha1(b"a" * 15 + b"b" * 5).digest() + hashlib.sha1(b"b").digest()
            self.assertIn(b"6:pieces40:" + pieces, said)
            self.assertIn(b"d6:lengthi15e4:pathl1:d1:aee", said)
            self.assertIn(b"d4:attr1:l6:lengthi0e4:pathl1:d1:le12:symlink pathl1:eee", said)
            self.assertIn(b"d4:attr1:x6:lengthi6e4:pathl1:eee", said)


class Settings(unittest.TestCase):
    def test_a_setting_names_its_tool(self) -> None:
        self.assertEqual(_changes(["tnet.x=1", "aria2.y=z"]), {"tnet": {"x": 1}, "aria2": {"y": "z"}})
        for wrong in ("x=1", "tnet.x", "nobody.x=1"):
            with self.assertRaises(ValueError):
                _changes([wrong])


if __name__ == "__main__":
    unittest.main()
