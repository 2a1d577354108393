"""YAML as plain data: mappings, lists, text and numbers, of a bounded size."""

from __future__ import annotations

import re
from typing import Any

import yaml

from predictlearn.errors import InputError

__all__ = ["NotPlain", "PlainLoader", "check_length", "composed", "parsed"]

_TAG = "tag:yaml.org,2002:"
_KINDS = ("bool", "int", "float", "null", "str", "seq", "map", "merge")
# How deep and how large data may be once every alias (*name) stands for what it names.
_DEEPEST, _MOST_NODES, _LONGEST_TEXT, _MOST_DIGITS = 50, 50_000, 1_000_000, 18


class NotPlain(yaml.MarkedYAMLError):
    """YAML that is not read: other than plain data, or too much of it."""


class PlainLoader(yaml.SafeLoader):
    """Safe loader with the plain scalars of YAML 1.2: 5e-3 is a number, `off` is text.

    No dates: 2020-01-01 is text.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._count = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node, if there are not too many, or too deep."""
        self._depth, self._count = self._depth + 1, self._count + 1
        mark = self.peek_event().start_mark
        if self._depth > _DEEPEST:
            raise _refusal(f"it is nested more than {_DEEPEST} deep", mark)
        if self._count > _MOST_NODES:
            raise _refusal(f"it has more than {_MOST_NODES} values", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


PlainLoader.yaml_implicit_resolvers = {}
for _name, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    PlainLoader.add_implicit_resolver(
        f"{_TAG}{_name}", re.compile(f"^(?:{_pattern})$"), list(_first)
    )


def _refusal(words: str, mark: Any) -> NotPlain:
    """Return an error that has the place in the text."""
    return NotPlain(None, None, words, mark)


def _number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    """Read a float that may lack the dot (5e-3)."""
    text = str(loader.construct_scalar(node)).lower()
    try:
        return float(text.replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        raise _refusal(f"{text[:40]!r} is no number", node.start_mark) from None


def _whole(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    """Read a decimal whole number; a leading zero does not make it octal."""
    text = str(loader.construct_scalar(node))
    if len(text.lstrip("+-")) > _MOST_DIGITS:
        raise _refusal(
            f"a whole number has at most {_MOST_DIGITS} digits; this one has "
            f"{len(text.lstrip('+-'))}",
            node.start_mark,
        )
    try:
        return int(text)
    except ValueError:
        raise _refusal(f"{text[:40]!r} is no whole number", node.start_mark) from None


def _truth(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> bool:
    """Read true or false."""
    text = str(loader.construct_scalar(node)).lower()
    if text not in ("true", "false"):
        raise _refusal(f"{text[:40]!r} is neither true nor false", node.start_mark)
    return text == "true"


PlainLoader.add_constructor(f"{_TAG}float", _number)
PlainLoader.add_constructor(f"{_TAG}int", _whole)
PlainLoader.add_constructor(f"{_TAG}bool", _truth)


def composed(loader: PlainLoader) -> yaml.Node | None:
    """Return the checked nodes of a text, before aliases are followed.

    Parameters
    ----------
    loader : PlainLoader
        The loader of the text.

    Returns
    -------
    yaml.Node or None
        The nodes; None of an empty text.

    Raises
    ------
    yaml.YAMLError
        No YAML; too deep or too large, once aliases are followed; an alias that contains itself; a
        tag of other than plain data.
    """
    node: yaml.Node | None = loader.get_single_node()
    if node is not None:
        _size(node, {}, set())
    return node


def _size(node: yaml.Node, known: dict[int, tuple[int, int]], open_: set[int]) -> tuple[int, int]:
    """Return how many nodes there are and how deep, with every alias followed; refuse too many."""
    if id(node) in known:
        return known[id(node)]
    if id(node) in open_:
        raise _refusal("an alias (*name) here contains itself", node.start_mark)
    if node.tag not in [f"{_TAG}{kind}" for kind in _KINDS]:
        kind = node.tag.removeprefix(_TAG)
        raise _refusal(
            f"it holds plain data only, and no {kind[:40]!r}: write numbers, text, lists and "
            "mappings",
            node.start_mark,
        )
    open_.add(id(node))
    parts = [node.value] if isinstance(node, yaml.ScalarNode) else node.value
    count, depth = 1, 1
    for part in parts:
        for one in part if isinstance(part, tuple) else [part]:
            if isinstance(one, yaml.Node):
                inner = _size(one, known, open_)
                count, depth = count + inner[0], max(depth, 1 + inner[1])
        if count > _MOST_NODES or depth > _DEEPEST:
            raise _refusal(
                f"with its aliases (*name) it has more than {_MOST_NODES} values, or is nested "
                f"more than {_DEEPEST} deep",
                node.start_mark,
            )
    open_.discard(id(node))
    known[id(node)] = count, depth
    return count, depth


def parsed(text: str) -> Any:
    """Return the data of a short text.

    Parameters
    ----------
    text : str
        The text.

    Returns
    -------
    object
        Plain data.

    Raises
    ------
    yaml.YAMLError, InputError
        No YAML of plain data, or too much of it.

    Examples
    --------
    >>> parsed("[{from: 0, to: off}, 5e-3, 2020-01-01]")
    [{'from': 0, 'to': 'off'}, 0.005, '2020-01-01']
    """
    check_length(text)
    loader = PlainLoader(text)
    try:
        node = composed(loader)
        return None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


def check_length(text: str) -> None:
    """Refuse a text that is longer than any that a person writes."""
    if len(text) > _LONGEST_TEXT:
        raise InputError(f"text of {len(text)} characters; YAML of at most {_LONGEST_TEXT} is read")
