"""What variables of a MATLAB file of version 7 or older say of their sizes, before they are read.

A variable is a tag (kind and number of bytes) and elements with tags of their own: flags, axes,
name, and numbers, cells or fields. The reader makes arrays of the sizes that are said, and follows
cells to any depth; here each size is compared with the bytes that there are.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

from predictlearn.doors import room
from predictlearn.errors import InputError

__all__ = ["check_elements", "check_hidden", "check_mat"]

_MATRIX, _PACKED = 14, 15
_CELL, _STRUCT, _OBJECT, _CHAR, _SPARSE, _OPAQUE = 1, 2, 3, 4, 5, 17
# how numbers and characters are stored: whole numbers, floating point, and UTF of three widths
_STORED = {1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 17, 18}
_NUMBERS = range(6, 16)
_DEEPEST, _MOST_AXES, _LONGEST_NAME, _PIECE = 50, 32, 4096, 1 << 18


def check_mat(file: Path) -> None:
    """Refuse a file whose variables claim more than they hold, or more than is allowed.

    Parameters
    ----------
    file : Path
        The file.

    Raises
    ------
    InputError, EOFError, zlib.error
        It does, or is damaged. Files of other versions pass.
    """
    with file.open("rb") as stream:
        head = stream.read(128)
        # files of version 4 begin with a number that has a zero byte
        if len(head) < 128 or 0 in head[:4] or head[126:128] not in (b"IM", b"MI"):
            return
        check_elements(stream, file.stat().st_size - 128, head[126:128] == b"IM")


def check_elements(stream: BinaryIO, size: int, little: bool) -> None:
    """Check elements that follow each other.

    Parameters
    ----------
    stream : file
        At the first of them.
    size : int
        How many bytes there are.
    little : bool
        Whether numbers begin with their low byte.

    Raises
    ------
    InputError, EOFError, zlib.error
        As for `check_mat`.
    """
    walk = _Walk("<" if little else ">")
    source = _Plain(stream, size)
    while source.left >= 8:
        kind, n_bytes = source.tag(walk.order)
        if n_bytes > source.left:
            raise EOFError(f"an element says {n_bytes} bytes, and {source.left} are left")
        after = source.left - n_bytes
        if kind == _PACKED:
            packed = _Packed(source, n_bytes)
            inner, claimed = packed.tag(walk.order)
            packed.left = claimed
            if inner == _MATRIX:
                walk.matrix(packed, claimed, 0)
            packed.skip(packed.left)
        elif kind == _MATRIX:
            walk.matrix(source, n_bytes, 0)
        source.skip(source.left - after)


class _Plain:
    """Bytes as they are stored."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self.left = stream, size

    def read(self, count: int) -> bytes:
        """Return the next bytes."""
        if count > self.left:
            raise EOFError("an element ends too early")
        data = self._some(count)
        self.left -= count
        if len(data) < count:
            raise EOFError("the file ends within an element")
        return data

    def skip(self, count: int) -> None:
        """Leave bytes out."""
        while count > 0:
            count -= len(self.read(min(count, _PIECE)))

    def tag(self, order: str) -> tuple[int, int]:
        """Return the kind of an element and its number of bytes."""
        kind, size = struct.unpack(f"{order}II", self.read(8))
        return kind, size

    def _some(self, count: int) -> bytes:
        return self._stream.read(count)


class _Packed(_Plain):
    """Bytes of a compressed element, inflated piece by piece."""

    def __init__(self, source: _Plain, size: int) -> None:
        self.left = 8
        self._source, self._packed, self._taken, self._made = source, size, 0, 0
        self._inflate, self._rest = zlib.decompressobj(), b""

    def _some(self, count: int) -> bytes:
        parts, wanted = [], count
        while wanted:
            if not self._rest and self._packed:
                self._rest = self._source.read(min(self._packed, _PIECE))
                self._packed -= len(self._rest)
                self._taken += len(self._rest)
            part = self._inflate.decompress(self._rest, wanted)
            self._rest = self._inflate.unconsumed_tail
            if not part and not self._rest and (not self._packed or self._inflate.eof):
                break
            parts.append(part)
            wanted -= len(part)
            self._made += len(part)
            room("a compressed variable", self._made, self._taken)
        return b"".join(parts)


class _Walk:
    """Goes through variables, and what is in them.

    Parameters
    ----------
    order : str
        Order of bytes in numbers, for `struct`.
    """

    def __init__(self, order: str) -> None:
        self.order, self.total = order, 0.0

    def matrix(self, source: _Plain, size: int, depth: int) -> None:
        """Check a variable, a cell or a field."""
        if depth > _DEEPEST:
            raise InputError(f"cells are nested more than {_DEEPEST} deep")
        if not size:
            return
        after = source.left - size
        flags = self.element(source, 16)
        kind = struct.unpack(f"{self.order}I", flags[:4])[0] & 0xFF if len(flags) >= 4 else 0
        if kind == _OPAQUE:  # names of classes stand in place of axes
            source.skip(source.left - after)
            return
        sizes = self.element(source, 4 * _MOST_AXES)
        axes = struct.unpack(f"{self.order}{len(sizes) // 4}i", sizes[: len(sizes) // 4 * 4])
        self.element(source, _LONGEST_NAME)
        rest, count = source.left - after, math.prod(axes)
        if min(axes, default=-1) < 0:
            raise InputError(f"a variable has the impossible shape {axes}")
        if kind == _CELL:
            self.parts(source, axes, count, rest, depth)
        elif kind in (_STRUCT, _OBJECT):
            if kind == _OBJECT:
                self.element(source, _LONGEST_NAME)
            length = self.element(source, 8)
            longest = struct.unpack(f"{self.order}i", length[:4])[0] if len(length) >= 4 else 0
            names = self.element(source, 1 << 20)
            fields = len(names) // longest if longest > 0 else 0
            if count > source.left:  # also of structures that have no field
                raise EOFError(f"a structure of shape {axes} is said to be in {rest} bytes")
            self.parts(source, axes, count * fields, source.left - after, depth)
        elif kind == _CHAR or kind in _NUMBERS:
            if count > rest:
                raise EOFError(f"an array of shape {axes} is said to be in {rest} bytes")
            self.total += 8.0 * count
            room("what is in it", self.total)
            self.numbers(source, after)
        elif kind == _SPARSE:
            self.numbers(source, after)
        source.skip(source.left - after)

    def numbers(self, source: _Plain, after: int) -> None:
        """Check the kinds of the elements that hold numbers; the reader crashes in unknown ones."""
        while source.left - after >= 8:
            kind, size = source.tag(self.order)
            if kind & 0xFFFF not in _STORED:
                raise InputError(f"numbers of an unknown kind, {kind & 0xFFFF}")
            size = 0 if kind >> 16 else size
            source.skip(min(size + -size % 8, source.left - after))

    def parts(
        self, source: _Plain, axes: tuple[int, ...], count: int, rest: int, depth: int
    ) -> None:
        """Check cells or fields that follow each other."""
        if 8 * count > rest:
            raise EOFError(f"cells or fields of shape {axes} are said to be in {rest} bytes")
        for _ in range(count):
            kind, size = source.tag(self.order)
            if size > source.left:
                raise EOFError(f"a cell says {size} bytes, and {source.left} are left")
            after = source.left - size
            if kind == _MATRIX:
                self.matrix(source, size, depth + 1)
            source.skip(source.left - after)

    def element(self, source: _Plain, most: int) -> bytes:
        """Return the content of a short element."""
        kind, size = source.tag(self.order)
        if kind >> 16:  # up to four bytes stand in the tag itself
            raw = struct.pack(f"{self.order}I", size)
            return raw[: kind >> 16]
        if size > most:
            raise InputError(f"axes, flags or a name of a variable have {size} bytes")
        data = source.read(size)
        source.skip(min(-size % 8, source.left))
        return data


def check_hidden(raw: bytes) -> io.BytesIO:
    """Return a stream of a hidden part of a file, if what is in it has its size.

    Parameters
    ----------
    raw : bytes
        The part, with a head of 128 bytes.

    Returns
    -------
    BytesIO
        Its stream, at the beginning.

    Raises
    ------
    InputError, EOFError, zlib.error
        As for `check_mat`.
    """
    stream = io.BytesIO(raw)
    stream.seek(128)
    check_elements(stream, max(0, len(raw) - 128), raw[126:128] == b"IM")
    stream.seek(0)
    return stream
