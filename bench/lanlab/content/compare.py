"""Whether a copy is the original: files by their bytes (holes are not read), trees by content, kind and mode."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

from .base import MIB, RIGHT, Verdict

# What a file system may allocate around the data of a sparse file.
SPARSE_SLACK = 1.05


def same_bytes(left: Path, right: Path) -> bool:
    """Whether both are regular files with the same bytes."""
    for path in (left, right):
        if not path.exists() or not stat.S_ISREG(path.lstat().st_mode):
            return False
    size = left.stat().st_size
    if right.stat().st_size != size:
        return False
    with left.open("rb", buffering=0) as a, right.open("rb", buffering=0) as b:
        # What is a hole in both is equal; what is data in one of them is read in both.
        for start, end in chain(data_extents(a.fileno(), size), data_extents(b.fileno(), size)):
            for at in range(start, end, MIB):
                length = min(MIB, end - at)
                if os.pread(a.fileno(), length, at) != os.pread(b.fileno(), length, at):
                    return False
    return True


def data_extents(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Start and end of what is not a hole."""
    at = 0
    # ENXIO: nothing but a hole follows.
    with suppress(OSError):
        while at < size:
            start = os.lseek(descriptor, at, os.SEEK_DATA)
            at = os.lseek(descriptor, start, os.SEEK_HOLE)
            yield start, at


def compare_files(original: Path, copy: Path) -> Verdict:
    """One file; exact if it takes no more space than the original."""
    if not same_bytes(original, copy):
        return Verdict(False, False, f"{copy.name}: other bytes, or not there")
    if copy.stat().st_blocks > original.stat().st_blocks * SPARSE_SLACK + 8:
        return Verdict(True, False, f"{copy.name}: {copy.stat().st_blocks >> 11} MiB allocated")
    return RIGHT


def compare_trees(original: Path, copy: Path) -> Verdict:
    """Every entry of both. Owners and times are not part of a tree."""
    if not copy.is_dir():
        return Verdict(False, False, "not there")
    left, right = entries(original), entries(copy)
    difference = ""
    for path in sorted(left.keys() | right.keys()):
        if left.get(path) == right.get(path) and (not _is_file(left, path) or same_bytes(original / path, copy / path)):
            continue
        difference = difference or f"{path}: {right.get(path, 'not there')}, original {left.get(path, 'not there')}"
        if (_is_file(left, path) or _is_file(right, path)) and not same_bytes(original / path, copy / path):
            return Verdict(False, False, f"{path}: {right.get(path, 'not there')}, or other bytes")
    return Verdict(True, not difference, difference)


def entries(root: Path) -> dict[str, str]:
    """Path to kind, mode or target of everything below a directory, itself included."""
    found = {".": _describe(root)}
    for directory, directories, files in os.walk(root):
        for name in [*directories, *files]:
            path = Path(directory) / name
            found[str(path.relative_to(root))] = _describe(path)
    return found


def _describe(path: Path) -> str:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return f"link to {path.readlink()}"
    kind = "directory" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "other"
    return f"{kind} {stat.S_IMODE(mode):04o}"


def _is_file(found: dict[str, str], path: str) -> bool:
    return found.get(path, "").startswith("file")
