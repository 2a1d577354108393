"""Conditions and values computed from columns: they see columns and nothing else."""

from __future__ import annotations

import ast
import io
import operator
import re
import tokenize
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictlearn.errors import InputError, nearest

__all__ = ["evaluate", "listed"]

_LONGEST = 2000
_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_COMPARED: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
# functions of one column, also written as its methods: isna(x) and x.isna()
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "isna": pd.isna,
    "isnull": pd.isna,
    "isnan": pd.isna,
    "notna": pd.notna,
    "notnull": pd.notna,
    "isin": lambda x, values: x.isin(values),
    "between": lambda x, low, high: x.between(low, high),
}


def evaluate(
    text: str, column: Callable[[str], npt.ArrayLike], names: Iterable[str]
) -> npt.NDArray[Any]:
    """Compute what an expression on columns gives, one value a row.

    It may hold names of columns (in backticks where they are no plain words), numbers, text in
    quotes, arithmetic, comparisons, ``in``, ``and``, ``or``, ``not``, and the functions ``abs``,
    ``isna``, ``notna``, ``isin`` and ``between``. Nothing else is looked up or called.

    Parameters
    ----------
    text : str
        The expression.
    column : callable
        From the name of a column to its values.
    names : iterable of str
        The columns that there are.

    Returns
    -------
    ndarray
        The values, one a row.

    Raises
    ------
    InputError
        What is no such expression, or cannot be computed.

    Examples
    --------
    >>> table = pd.DataFrame({"side": ["l", "r", "r"], "contrast": [0.1, 0.2, 0.05]})
    >>> evaluate("side == 'r' and contrast > 0.1", table.__getitem__, table).tolist()
    [False, True, False]
    """
    known = [str(name) for name in names]
    quoted: dict[str, str] = {}

    def plain(match: re.Match[str]) -> str:
        word = f"column_in_backticks_{len(quoted)}"
        quoted[word] = match.group(1)
        return word

    try:
        if len(text) > _LONGEST:
            raise InputError(f"it is longer than {_LONGEST} characters")
        tree = ast.parse(_worded(re.sub(r"`([^`]+)`", plain, text)), mode="eval")
        value = _Reader(column, known, quoted).read(tree.body)
    except (
        InputError,
        SyntaxError,
        TypeError,
        ValueError,
        ArithmeticError,
        MemoryError,
        RecursionError,
        tokenize.TokenError,
    ) as error:
        what = getattr(error, "msg", None) or error
        raise InputError(
            f"{text[:200]!r} is not a condition on the columns {listed(known)}: {what}."
        ) from error
    return np.asarray(value)


def _worded(text: str) -> str:
    """Write & and | as `and` and `or`, which bind less tightly than comparisons."""
    tokens = list(tokenize.generate_tokens(io.StringIO(text.strip()).readline))
    words = {"&": "and", "|": "or"}
    parts = [
        words.get(token.string, token.string) if token.type == tokenize.OP else token.string
        for token in tokens
        if token.type not in (tokenize.NEWLINE, tokenize.NL, tokenize.ENDMARKER)
    ]
    return " ".join(parts)


class _Reader:
    """Computes the parts of an expression."""

    def __init__(
        self, column: Callable[[str], npt.ArrayLike], known: list[str], quoted: dict[str, str]
    ) -> None:
        self.column, self.known, self.quoted = column, known, quoted

    def read(self, node: ast.expr) -> Any:
        """Return the value of a part: a Series, a plain value or a list of these."""
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str | None):
            return node.value
        if isinstance(node, ast.Name):
            return self.named(self.quoted.get(node.id, node.id))
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return [self.read(item) for item in node.elts]
        if isinstance(node, ast.BoolOp):
            parts = [_truth(self.read(value)) for value in node.values]
            join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
            return pd.Series(join.reduce(np.broadcast_arrays(*parts)))
        if isinstance(node, ast.UnaryOp):
            value = self.read(node.operand)
            if isinstance(node.op, ast.Not | ast.Invert):
                return pd.Series(~_truth(value))
            return -_number(value) if isinstance(node.op, ast.USub) else _number(value)
        if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            left, right = _number(self.read(node.left)), _number(self.read(node.right))
            return _BINARY[type(node.op)](left, right)
        if isinstance(node, ast.Compare):
            return self.compared(node)
        if isinstance(node, ast.Call) and not node.keywords:
            return self.called(node)
        raise InputError(
            "it may hold columns, numbers, text in quotes, comparisons, arithmetic, 'in', 'and', "
            f"'or', 'not' and the functions {', '.join(_FUNCTIONS)}, and nothing else"
        )

    def named(self, name: str) -> pd.Series:
        """Return a column."""
        if name not in self.known:
            close = nearest(name, self.known)
            hint = f"; did you mean {close!r}?" if close else ""
            raise InputError(f"there is no column {name!r}{hint}")
        return pd.Series(np.asarray(self.column(name)))

    def compared(self, node: ast.Compare) -> Any:
        """Return a comparison, also one of several in a row (0 < x < 1)."""
        parts = []
        left = self.read(node.left)
        for sign, other in zip(node.ops, node.comparators, strict=True):
            right = self.read(other)
            if isinstance(sign, ast.In | ast.NotIn) or isinstance(right, list):
                if not isinstance(right, list) or not isinstance(left, pd.Series):
                    raise InputError("write: column in [value, value]")
                inside = left.isin(right)
                parts.append(~inside if isinstance(sign, ast.NotIn | ast.NotEq) else inside)
            elif type(sign) in _COMPARED:
                parts.append(_COMPARED[type(sign)](left, right))
            else:
                raise InputError("comparisons are ==, !=, <, <=, >, >=, in and not in")
            left = right
        return pd.Series(np.logical_and.reduce([np.asarray(part) for part in parts]))

    def called(self, node: ast.Call) -> Any:
        """Return a function of a column."""
        method = isinstance(node.func, ast.Attribute)
        name = getattr(node.func, "attr" if method else "id", None)
        if name not in _FUNCTIONS:
            raise InputError(f"functions are {', '.join(_FUNCTIONS)}")
        first = [node.func.value] if isinstance(node.func, ast.Attribute) else []
        arguments = [self.read(part) for part in (*first, *node.args)]
        if not arguments or not isinstance(arguments[0], pd.Series):
            raise InputError(f"{name} is a function of a column")
        return _FUNCTIONS[name](*arguments)


def _number(value: Any) -> Any:
    """Return numbers to compute with, in floating point, where powers end rather than grow."""
    if isinstance(value, pd.Series):
        if value.dtype.kind not in "biuf":
            raise InputError("arithmetic is for numbers")
        return value.astype(float)
    if isinstance(value, str | list) or value is None:
        raise InputError("arithmetic is for numbers")
    return float(value)


def _truth(value: Any) -> npt.NDArray[np.bool_]:
    """Return what is true or false; zeros and ones are."""
    array = np.asarray(value)
    if array.dtype.kind != "b":
        if array.dtype.kind == "O" and all(isinstance(one, bool | np.bool_) for one in array.flat):
            return array.astype(bool)
        if array.dtype.kind not in "iuf" or not np.isin(array, (0, 1)).all():
            raise InputError("'and', 'or' and 'not' join what is true or false")
    return array.astype(bool)


def listed(values: Iterable[Any], most: int = 12) -> str:
    """Return the first few of some values in words.

    Parameters
    ----------
    values : iterable
        The values.
    most : int
        How many to name.

    Returns
    -------
    str
        The words.
    """
    words = [str(value) for value in values]
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more if words else "none"
