"""The published results, each rebuilt from a protocol, with the numbers that decide it."""

from predictlearn.published.registry import published, published_names, reproduce
from predictlearn.published.result import VERDICTS, Published, Reproduced, numbers_table

__all__ = [
    "VERDICTS",
    "Published",
    "Reproduced",
    "numbers_table",
    "published",
    "published_names",
    "reproduce",
]
