"""Contents are the same in every run, and a comparison sees every kind of difference."""

import os
import tempfile
import unittest
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from lanlab.content import BigTree, SmallTree, SparseImage, UpdatedImage, UpdatedTree
from lanlab.content.compare import compare_files, compare_trees, entries, same_bytes
from lanlab.content.tree import Entry, Kind

FILES = 2000
# The sizes of the published cases, so that a change of the generators is noticed.
PLANNED = {
    BigTree(60, 2048): 2048 << 20,
    SmallTree(20_000): 167_897_078,
    UpdatedTree(20_000): 11_557_967,
}


def _become_link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


class Bytes(unittest.TestCase):
    def test_one_wrong_or_missing_byte_is_seen(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            left, right = Path(name) / "left", Path(name) / "right"
            left.write_bytes(b"abcd")
            self.assertFalse(same_bytes(left, right))
            for wrong in (b"abc", b"abcx", b"abcde"):
                right.write_bytes(wrong)
                self.assertFalse(same_bytes(left, right))
            right.write_bytes(b"abcd")
            self.assertTrue(same_bytes(left, right))

    def test_holes_are_zeroes_and_data_in_a_hole_is_seen(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            left, right = Path(name) / "left", Path(name) / "right"
            for path in (left, right):
                path.touch()
                os.truncate(path, 8 << 20)
            self.assertTrue(same_bytes(left, right))
            right.write_bytes(bytes(8 << 20))
            self.assertTrue(same_bytes(left, right))
            self.assertEqual(compare_files(left, right).exact, False)
            with right.open("r+b") as file:
                file.seek(5 << 20)
                file.write(b"x")
            self.assertFalse(same_bytes(left, right))


class Trees(unittest.TestCase):
    def test_plans_have_the_published_sizes(self) -> None:
        for content, size in PLANNED.items():
            self.assertEqual(content.news_bytes, size, content)

    def test_an_update_changes_what_it_says_and_nothing_else(self) -> None:
        old = {entry.path: entry for entry in SmallTree(FILES).entries() if entry.size}
        new = {entry.path: entry for entry in UpdatedTree(FILES).entries() if entry.size}
        known = {(entry.seed, entry.size) for entry in old.values()}
        added = new.keys() - old.keys()
        renamed = [path for path in added if (new[path].seed, new[path].size) in known]
        changed = [path for path in new.keys() & old.keys() if new[path].seed != old[path].seed]
        shares = [len(changed), len(renamed), len(added) - len(renamed), len(old.keys() - new.keys()) - len(renamed)]
        self.assertEqual(shares, [round(share * len(old)) for share in (0.05, 0.05, 0.02, 0.02)])
        self.assertTrue(
            any(Path(path).parent != Path(entry.path).parent for path, entry in self._pairs(old, new, renamed))
        )

    def test_a_written_tree_is_its_plan_and_the_same_again(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            left, right = Path(name) / "left", Path(name) / "right"
            content = UpdatedTree(300)
            content.make(left)
            content.make(right)
            self.assertTrue(content.compare(left, right).exact)
            self.assertEqual(len(entries(left)), len(content.entries()) + 1)
            content.make_before(Path(name) / "before")
            self.assertFalse(content.compare(left, Path(name) / "before").bytes_right)

    def test_every_kind_of_difference_is_seen(self) -> None:
        exact_only: list[Callable[[Path], object]] = [
            lambda root: (root / "d/x").chmod(0o644),
            lambda root: (root / "d").chmod(0o700),
            lambda root: (root / "none").rmdir(),
            lambda root: (root / "more").mkdir(),
            lambda root: (root / "l").unlink(),
            lambda root: _become_link(root / "l", "d/x"),
        ]
        bytes_too: list[Callable[[Path], object]] = [
            lambda root: (root / "d/a").write_bytes(b"b"),
            lambda root: (root / "d/a").unlink(),
            lambda root: (root / "e").touch(),
            lambda root: _become_link(root / "d/a", "x"),
        ]
        for number, change in enumerate([*exact_only, *bytes_too]):
            with tempfile.TemporaryDirectory() as name:
                left, right = self._small(Path(name) / "left"), self._small(Path(name) / "right")
                self.assertTrue(compare_trees(left, right).exact)
                change(right)
                verdict = compare_trees(left, right)
                self.assertFalse(verdict.exact, number)
                self.assertTrue(verdict.difference, number)
                self.assertEqual(verdict.bytes_right, number < len(exact_only), number)

    def _small(self, root: Path) -> Path:
        (root / "d").mkdir(parents=True)
        (root / "none").mkdir()
        (root / "d/a").write_bytes(b"a")
        (root / "d/x").write_bytes(b"x")
        (root / "d/x").chmod(0o755)
        (root / "l").symlink_to("d/a")
        return root

    def _pairs(self, old: dict[str, Entry], new: dict[str, Entry], renamed: list[str]) -> list[tuple[str, Entry]]:
        """Each new name with the entry that had it before."""
        by_bytes = {(entry.seed, entry.size): entry for entry in old.values() if entry.kind is not Kind.LINK}
        return [(path, by_bytes[new[path].seed, new[path].size]) for path in renamed]


class Images(unittest.TestCase):
    def test_an_updated_image_differs_in_as_many_blocks_as_it_says(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            left, right = Path(name) / "left", Path(name) / "right"
            content = UpdatedImage(2, 7)
            content.make(left)
            content.make_before(right)
            a, b = left.read_bytes(), right.read_bytes()
            self.assertEqual(sum(a[at : at + 4096] != b[at : at + 4096] for at in range(0, len(a), 4096)), 7)
            self.assertLess(right.stat().st_mtime, left.stat().st_mtime)

    def test_the_extents_of_a_sparse_image_are_apart_and_add_up(self) -> None:
        content = SparseImage(8192, 300, 200)
        places = list(content.places())
        self.assertEqual(sum(length for _, length in places), content.news_bytes)
        self.assertEqual(len(places), 200)
        for (start, length), (after, _) in pairwise(places):
            self.assertLess(start + length, after)


if __name__ == "__main__":
    unittest.main()
