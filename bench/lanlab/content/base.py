"""The interface of a content: it is made at the seed, and compared at every receiver."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import ClassVar

MIB = 1 << 20


class Need(Enum):
    """What a tool must be able to carry, besides one file."""

    TREE = "directories"
    UPDATE = "updates"
    SPARSE = "sparse files"


@dataclass(frozen=True)
class Verdict:
    """What a comparison found."""

    bytes_right: bool
    """Every regular file is there with its bytes, and no other."""
    exact: bool
    """Also links, directories and modes; of a sparse file, its holes."""
    difference: str = ""
    """The first one, for a person."""


RIGHT = Verdict(bytes_right=True, exact=True)


class Content(ABC):
    name: ClassVar[str] = "payload.bin"
    needs: ClassVar[frozenset[Need]] = frozenset()

    @property
    @abstractmethod
    def news_bytes(self) -> int:
        """Bytes that each receiver lacks: what must cross its link, and what all ratios are to."""

    @property
    def stored_bytes(self) -> int:
        """Memory that a copy takes."""
        return self.news_bytes

    @abstractmethod
    def make(self, path: Path) -> None:
        """Writes it, at the seed."""

    def make_before(self, path: Path) -> None:
        """Writes what a receiver has before the clock starts; nothing, unless this is an update."""
        del path

    @abstractmethod
    def compare(self, original: Path, copy: Path) -> Verdict: ...

    def with_size(self, mib: int) -> "Content":
        raise ValueError(f"its size cannot be set to {mib} MiB")

    def with_files(self, files: int) -> "Content":
        raise ValueError(f"it cannot have {files} files")
