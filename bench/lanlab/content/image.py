"""Images: a new version of one of which few blocks changed, and one that is mostly holes."""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from .base import MIB, Content, Need, Verdict
from .compare import compare_files
from .file import write_random

BLOCK = 4096
# Modification times of the old and the new version: tools that go by times must see a difference.
OLD_S, NEW_S = 1_700_000_000, 1_700_086_400


@dataclass(frozen=True)
class UpdatedImage(Content):
    """A receiver has the image with other bytes in some blocks, spread evenly at random."""

    mib: int
    blocks: int
    needs: ClassVar[frozenset[Need]] = frozenset({Need.UPDATE})

    @property
    def news_bytes(self) -> int:
        return self.blocks * BLOCK

    @property
    def stored_bytes(self) -> int:
        # The old and the new one may be there at the same time.
        return 2 * self.mib * MIB

    def make(self, path: Path) -> None:
        write_random(path, self.mib * MIB, self.mib)
        source = random.Random(self.blocks)
        places = source.sample(range(self.mib * MIB // BLOCK), self.blocks)
        with path.open("r+b", buffering=0) as file:
            for place in places:
                os.pwrite(file.fileno(), source.randbytes(BLOCK), place * BLOCK)
        os.utime(path, (NEW_S, NEW_S))

    def make_before(self, path: Path) -> None:
        write_random(path, self.mib * MIB, self.mib)
        os.utime(path, (OLD_S, OLD_S))

    def compare(self, original: Path, copy: Path) -> Verdict:
        return compare_files(original, copy)

    def with_size(self, mib: int) -> "UpdatedImage":
        return replace(self, mib=mib)


@dataclass(frozen=True)
class SparseImage(Content):
    """Extents of data of different lengths, one somewhere in each equal part of the image; holes between them."""

    mib: int
    data_mib: int
    extents: int
    needs: ClassVar[frozenset[Need]] = frozenset({Need.SPARSE})

    @property
    def news_bytes(self) -> int:
        return self.data_mib * MIB

    def make(self, path: Path) -> None:
        with path.open("wb", buffering=0) as file:
            os.truncate(file.fileno(), self.mib * MIB)
            for number, (start, length) in enumerate(self.places()):
                source = random.Random(number)
                for at in range(0, length, MIB):
                    os.pwrite(file.fileno(), source.randbytes(min(MIB, length - at)), start + at)

    def places(self) -> Iterator[tuple[int, int]]:
        """Start and length of each extent, whole blocks; the lengths add up to the data."""
        source = random.Random(self.extents)
        part = self.mib * MIB // self.extents // BLOCK
        mean = self.data_mib * MIB // BLOCK / self.extents
        left = self.data_mib * MIB // BLOCK
        for number in range(self.extents):
            last = number == self.extents - 1
            # In pairs that add up to two means, so that the last one is not an odd remainder.
            if number % 2 == 0:
                first = length = left if last else int(source.uniform(0.4, 1.6) * mean)
            else:
                length = left if last else int(2 * mean) - first
            left -= length
            yield (number * part + source.randrange(part - length)) * BLOCK, length * BLOCK

    def compare(self, original: Path, copy: Path) -> Verdict:
        return compare_files(original, copy)
