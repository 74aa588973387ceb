"""What a run brings to its receivers, by kind. All of it follows from seeds: the same bytes in every run."""

from .base import Content, Need, Verdict
from .file import OneFile
from .image import SparseImage, UpdatedImage
from .tree import BigTree, SmallTree, UpdatedTree

__all__ = [
    "BigTree",
    "Content",
    "Need",
    "OneFile",
    "SmallTree",
    "SparseImage",
    "UpdatedImage",
    "UpdatedTree",
    "Verdict",
]
