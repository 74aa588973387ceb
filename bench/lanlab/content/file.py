"""One file of bytes that no tool can compress."""

import random
from dataclasses import dataclass, replace
from pathlib import Path

from .base import MIB, Content, Verdict
from .compare import same_bytes


@dataclass(frozen=True)
class OneFile(Content):
    mib: int

    @property
    def news_bytes(self) -> int:
        return self.mib * MIB

    def make(self, path: Path) -> None:
        write_random(path, self.news_bytes, self.mib)

    def compare(self, original: Path, copy: Path) -> Verdict:
        right = same_bytes(original, copy)
        return Verdict(right, right)

    def with_size(self, mib: int) -> "OneFile":
        return replace(self, mib=mib)


def write_random(path: Path, size: int, seed: int) -> None:
    """Bytes that follow from the seed."""
    source = random.Random(seed)
    with path.open("wb", buffering=0) as file:
        for at in range(0, size, MIB):
            file.write(source.randbytes(min(MIB, size - at)))
