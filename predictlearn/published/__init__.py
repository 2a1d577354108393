"""The published results, each rebuilt from a protocol, with the numbers that decide it."""

from predictlearn.published.base import VERDICTS, Published, Reproduced, numbers_table
from predictlearn.published.registry import published, published_names, reproduce

__all__ = [
    "VERDICTS",
    "Published",
    "Reproduced",
    "numbers_table",
    "published",
    "published_names",
    "reproduce",
]
