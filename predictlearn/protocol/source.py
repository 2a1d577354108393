"""Protocol files as plain data that remembers its lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from predictlearn.doors import one_line, readable, reading
from predictlearn.errors import InputError, nearest
from predictlearn.plain_yaml import NotPlain, PlainLoader, composed
from predictlearn.resources import resource_folder

__all__ = ["Problem", "Source", "find_protocol", "read_source", "shipped_protocols"]

Location = tuple[str | int, ...]
Problem = tuple[Location, str]
"""Where something is wrong, and what."""

# bytes: the largest that ships has 4 thousand
_LARGEST_FILE = 256 * 1024
_MOST_PROBLEMS = 30


@dataclass(frozen=True)
class Source:
    """Plain data with, where it came from a file, the line of every key and value.

    Parameters
    ----------
    data : dict
        The content.
    name : str
        What messages call it: the file, or "the protocol".
    folder : pathlib.Path
        Where relative paths in it start.
    lines : dict
        Line (from 1) by location.
    given : dict
        Tasks given as objects, or functions that return one, by name.
    trust : bool
        Whether functions that the content names may be run.
    """

    data: dict[str, Any]
    name: str = "the protocol"
    folder: Path = field(default_factory=Path)
    lines: Mapping[Location, int] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)
    trust: bool = False

    def where(self, location: Location) -> str:
        """Return the file, line and dotted path of a location, as far as it exists."""
        known = self._existing(location)
        path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in known).lstrip(".")
        path = one_line(path, 200)
        line = self.lines.get(known)
        start = f"{self.name}, line {line}" if line else self.name
        return f"{start}: {path}" if path else start

    def _existing(self, location: Location) -> Location:
        """Return the longest leading part of a location that the data have."""
        node: Any = self.data
        for depth, part in enumerate(location):
            inside = (isinstance(node, dict) and part in node) or (
                isinstance(node, list) and isinstance(part, int) and part < len(node)
            )
            if not inside:
                return location[:depth]
            node = node[part]
        return location

    def refuse(self, problems: Sequence[Problem]) -> InputError:
        """Return one error that lists every problem, in the order of the file."""
        merged: dict[Location, list[str]] = {}
        for location, text in problems:
            texts = merged.setdefault(self._existing(location), [])
            if text not in texts:
                texts.append(text)
        order = sorted(merged, key=lambda place: self.lines.get(place, 0))
        rows = [
            one_line(f"{self.where(place)}: {_either(merged[place])}")
            for place in order[:_MOST_PROBLEMS]
        ]
        if len(order) > _MOST_PROBLEMS:
            rows.append(f"{self.name}: and {len(order) - _MOST_PROBLEMS} more problems")
        return InputError("\n".join(rows))


def _either(texts: Sequence[str]) -> str:
    """Join what would have been right, and say once what came."""
    heads, tails = zip(*(text.partition("; got ")[::2] for text in texts), strict=True)
    if len(set(tails)) == 1 and tails[0]:
        return f"{' or '.join(heads)}; got {tails[0]}"
    return " or ".join(texts)


def plain(value: Any) -> Any:
    """Return data made of dict, list, str and plain numbers only."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


def _positions(
    node: yaml.Node, place: Location, lines: dict[Location, int], doubled: list[Problem]
) -> None:
    """Record the line of every key and item below a node, and keys that come twice."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*place, str(key.value))
            if here in lines:
                doubled.append(
                    (
                        here,
                        f"this key comes twice, in lines {lines[here]} and "
                        f"{key.start_mark.line + 1}; keep one",
                    )
                )
            lines[here] = key.start_mark.line + 1
            _positions(value, here, lines, doubled)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            here = (*place, number)
            lines[here] = item.start_mark.line + 1
            _positions(item, here, lines, doubled)


def read_source(path: Path) -> Source:
    """Read a YAML file, or raise InputError with the line at which it is broken."""
    expected = "a protocol, a YAML file of text in UTF-8"
    with reading(path, expected):
        data, lines, doubled = _parsed(readable(path, expected))
    if not isinstance(data, dict):
        raise InputError(
            f"{path}, line 1: a protocol must be a list of keys with values, such as "
            f"'name: ...'; got {type(data).__name__}."
        )
    source = Source(data, str(path), path.parent, lines)
    if doubled:
        raise source.refuse(doubled)
    return source


def _parsed(path: Path) -> tuple[Any, dict[Location, int], list[Problem]]:
    """Return the data of a YAML file, the lines of what is in it, and keys that come twice."""
    if path.stat().st_size > _LARGEST_FILE:
        raise InputError(
            f"{path} has {path.stat().st_size} bytes; a protocol has at most {_LARGEST_FILE}."
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} cannot be read as text in UTF-8: {error}") from error
    try:
        loader = PlainLoader(text)
    except yaml.reader.ReaderError as error:
        row = text.count("\n", 0, error.position) + 1
        raise InputError(
            f"{path}, line {row}: this is not YAML: it holds a character that is no text, "
            f"number {ord(text[error.position])}."
        ) from error
    lines: dict[Location, int] = {}
    doubled: list[Problem] = []
    data: Any = None
    try:
        node = composed(loader)
        if node is not None:
            # before construction, which would copy merged keys (<<) into the node
            _positions(node, (), lines, doubled)
            data = plain(loader.construct_document(node))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        said = one_line(getattr(error, "problem", None) or str(error))
        if isinstance(error, NotPlain):
            raise InputError(f"{path}{line}: {said}.") from error
        raise InputError(
            f"{path}{line}: this is not YAML: {said}. Check the indentation, and "
            "that every key is followed by a colon and a space."
        ) from error
    finally:
        loader.dispose()
    return data, lines, doubled


def shipped_protocols() -> tuple[str, ...]:
    """Return the names of the protocols that ship with predictlearn.

    Returns
    -------
    tuple of str
        Names that `Protocol.load` takes.

    Examples
    --------
    >>> "aba" in shipped_protocols()
    True
    """
    return tuple(sorted(path.stem for path in resource_folder("protocols").glob("*.yaml")))


def find_protocol(path_or_name: str | Path) -> Path:
    """Return the file of a protocol: an existing path, or the name of a shipped one."""
    path = Path(path_or_name)
    if path.is_dir():
        raise InputError(f"a protocol is a YAML file; {path} is a folder.")
    if path.exists():
        return readable(path, "a protocol, a YAML file")
    names = shipped_protocols()
    # a shipped protocol is also found as protocols/NAME.yaml from anywhere
    plain_name = path.name.removesuffix(".yaml").removesuffix(".yml")
    if plain_name in names and path.parent in (Path(), Path("protocols")):
        return resource_folder("protocols") / f"{plain_name}.yaml"
    close = nearest(plain_name, names)
    hint = f" Did you mean {close!r}?" if close else ""
    raise InputError(
        f"there is no protocol file {path}; the protocols that ship are {', '.join(names)}.{hint}"
    )
