"""Trees: few large files, many small ones, and a new version of many small ones.

A tree is planned first, from a seed, as a list of entries; the plan tells its size, and writing it makes the same bytes
on every machine. It has executables, links and empty directories, so that a tool which loses them is seen.
"""

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from pathlib import Path, PurePosixPath
from typing import ClassVar

from .base import MIB, Content, Need, Verdict
from .compare import compare_trees
from .file import write_random
from .image import NEW_S, OLD_S

SMALL_LEAST, SMALL_MOST = 205, 16 * 1024
FILES_PER_DIRECTORY = 100
EMPTY_DIRECTORIES = 5
# One in so many.
EXECUTABLE, LINK, EMPTY = 50, 100, 2000
CHANGED, RENAMED, DELETED, NEW = 0.05, 0.05, 0.02, 0.02


class Kind(Enum):
    FILE = "file"
    EXECUTABLE = "executable"
    LINK = "link"
    DIRECTORY = "directory"


MODES = {Kind.FILE: 0o644, Kind.EXECUTABLE: 0o755, Kind.DIRECTORY: 0o755}


@dataclass(frozen=True)
class Entry:
    path: str
    kind: Kind
    size: int = 0
    seed: int = 0
    """What a file's bytes follow from."""
    target: str = ""
    modified_s: int = OLD_S


@dataclass(frozen=True)
class _Tree(Content):
    files: int
    name: ClassVar[str] = "payload"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.TREE})

    def entries(self) -> Sequence[Entry]:
        raise NotImplementedError

    @property
    def news_bytes(self) -> int:
        return sum(entry.size for entry in self.entries())

    def make(self, path: Path) -> None:
        write_tree(path, self.entries())

    def compare(self, original: Path, copy: Path) -> Verdict:
        return compare_trees(original, copy)


@dataclass(frozen=True)
class BigTree(_Tree):
    """A few files of different sizes, as the shards of a model."""

    mib: int

    def entries(self) -> Sequence[Entry]:
        return big_tree(self.files, self.mib * MIB)

    def with_size(self, mib: int) -> "BigTree":
        return replace(self, mib=mib)


@dataclass(frozen=True)
class SmallTree(_Tree):
    """Many small files, as a build."""

    def entries(self) -> Sequence[Entry]:
        return small_tree(self.files)

    def with_files(self, files: int) -> "SmallTree":
        return replace(self, files=files)


@dataclass(frozen=True)
class UpdatedTree(SmallTree):
    """The next build; a receiver has the one before."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.TREE, Need.UPDATE})

    def entries(self) -> Sequence[Entry]:
        return updated(small_tree(self.files))

    def make_before(self, path: Path) -> None:
        write_tree(path, small_tree(self.files))

    @property
    def news_bytes(self) -> int:
        return sum(entry.size for entry in self.entries() if entry.modified_s == NEW_S)

    @property
    def stored_bytes(self) -> int:
        # The old and the new one may be there at the same time.
        return 2 * sum(entry.size for entry in self.entries())


@cache
def big_tree(files: int, size: int) -> tuple[Entry, ...]:
    source = random.Random(files)
    weights = [source.uniform(0.5, 1.5) for _ in range(files)]
    ends = [round(size * sum(weights[: number + 1]) / sum(weights)) for number in range(files)]
    entries = [Entry("empty", Kind.DIRECTORY), Entry("parts", Kind.DIRECTORY)]
    for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        kind = Kind.EXECUTABLE if number == 0 else Kind.FILE
        entries.append(Entry(f"parts/part-{number:03}.bin", kind, end - start, number))
    return (*entries, Entry("first", Kind.LINK, target="parts/part-000.bin"))


@cache
def small_tree(files: int) -> tuple[Entry, ...]:
    source = random.Random(files)
    directories = max(1, files // FILES_PER_DIRECTORY)
    names = [f"module{number // 10:03}/part{number % 10}" for number in range(directories)]
    modules = sorted({name.partition("/")[0] for name in names})
    empty = [f"empty/directory{number}" for number in range(EMPTY_DIRECTORIES)]
    entries = [Entry(path, Kind.DIRECTORY) for path in [*modules, *names, "empty", *empty]]
    for number in range(files):
        directory = names[number % directories]
        kind = Kind.EXECUTABLE if number % EXECUTABLE == 0 else Kind.FILE
        size = 0 if number % EMPTY == EMPTY - 1 else source.randint(SMALL_LEAST, SMALL_MOST)
        entries.append(Entry(f"{directory}/file{number:06}.o", kind, size, number))
        if number % LINK == 0:
            entries.append(Entry(f"{directory}/link{number:06}", Kind.LINK, target=f"file{number:06}.o"))
    return tuple(entries)


@cache
def updated(old: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Some files with other bytes and sizes, some under other names (every second one in another directory), some gone,
    some new. Links whose file is gone point nowhere, which every tool carries.
    """
    source = random.Random(len(old))
    files = [entry for entry in old if entry.size > 0]
    directories = sorted({str(PurePosixPath(entry.path).parent) for entry in files})
    count = len(files)
    lot = source.sample(files, count)
    changed = set(lot[: (first := round(CHANGED * count))])
    renamed = set(lot[first : (second := first + round(RENAMED * count))])
    deleted = set(lot[second : second + round(DELETED * count)])
    entries = []
    for number, entry in enumerate(old):
        if entry in changed:
            size = source.randint(SMALL_LEAST, SMALL_MOST)
            entries.append(replace(entry, size=size, seed=entry.seed + (1 << 32), modified_s=NEW_S))
        elif entry in renamed:
            before = PurePosixPath(entry.path)
            directory = source.choice(directories) if number % 2 else str(before.parent)
            entries.append(replace(entry, path=f"{directory}/renamed-{before.name}"))
        elif entry not in deleted:
            entries.append(entry)
    for number in range(round(NEW * count)):
        size = source.randint(SMALL_LEAST, SMALL_MOST)
        path = f"{source.choice(directories)}/new{number:06}.o"
        entries.append(Entry(path, Kind.FILE, size, number + (1 << 33), modified_s=NEW_S))
    return tuple(entries)


def write_tree(root: Path, entries: Sequence[Entry]) -> None:
    """Directories come before what is in them."""
    root.mkdir()
    root.chmod(MODES[Kind.DIRECTORY])
    for entry in entries:
        path = root / entry.path
        if entry.kind is Kind.LINK:
            path.symlink_to(entry.target)
            continue
        if entry.kind is Kind.DIRECTORY:
            path.mkdir()
        else:
            write_random(path, entry.size, entry.seed)
        path.chmod(MODES[entry.kind])
        if entry.kind is not Kind.DIRECTORY:
            os.utime(path, (entry.modified_s, entry.modified_s))
