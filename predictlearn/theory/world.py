"""A linear world: what the output of a network moves, and what of it the input reports."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from predictlearn.checks import as_float_array, positive_int
from predictlearn.errors import InputError

__all__ = ["LinearWorld"]


@dataclass(frozen=True)
class LinearWorld:
    """A linear system that the network's output moves and its input reports.

    With y the output and x the input that the task gives::

        w_t = step w_{t-1} + push y_t + offset,      w before the first bin is `start`
        the network's input is  x_t + seen w_{t-1},  the loss reads  read w_t

    A cursor, a limb, or any linear system with q state variables in discrete time. Where `seen` is
    zero the loop is open, and the world only filters the output.

    Parameters
    ----------
    step : array_like, (q, q)
        What a bin does to the state.
    push : array_like, (q, n_out)
        How the output moves the state in a bin.
    seen : array_like, (n_in, q), optional
        What the input reports of the state of the bin before; nothing if not given, an open loop.
    read : array_like, (n_read, q), optional
        What the loss reads; all state variables if not given.
    offset : array_like, (q,), optional
        Added to the state in every bin.
    start : array_like, (q,), optional
        State before the first bin; zero if not given.

    Raises
    ------
    InputError
        If the shapes do not fit each other or a value is not finite.

    Examples
    --------
    A cursor at position w, moved by the output, whose position the input reports:

    >>> import predictlearn as pl
    >>> world = pl.LinearWorld(step=[[1.0]], push=[[0.05]], seen=[[-1.0]])
    >>> world.n_state, world.is_closed, world.delayed(2).n_state
    (1, True, 3)
    """

    step: np.ndarray
    push: np.ndarray
    seen: np.ndarray = field(default=None)  # type: ignore[arg-type]
    read: np.ndarray = field(default=None)  # type: ignore[arg-type]
    offset: np.ndarray = field(default=None)  # type: ignore[arg-type]
    start: np.ndarray = field(default=None)  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        step = as_float_array("step", self.step, 2, axes="(state, state)")
        q = step.shape[0]
        if step.shape[1] != q or q == 0:
            raise InputError(f"step must be square, (state, state); got {step.shape}.")
        values: dict[str, Any] = {"step": step}
        values["push"] = as_float_array("push", self.push, shape=(q, None), axes="(state, n_out)")
        seen = np.zeros((0, q)) if self.seen is None else self.seen
        if self.seen is not None:
            seen = as_float_array("seen", seen, shape=(None, q), axes="(n_in, state)")
        values["seen"] = np.asarray(seen, dtype=float)
        read = np.eye(q) if self.read is None else self.read
        values["read"] = as_float_array("read", read, shape=(None, q), axes="(n_read, state)")
        for name in ("offset", "start"):
            given = getattr(self, name)
            values[name] = as_float_array(
                name, np.zeros(q) if given is None else given, shape=(q,), axes="(state,)"
            )
        for name, value in values.items():
            value = np.array(value)
            value.flags.writeable = False
            object.__setattr__(self, name, value)

    @property
    def n_state(self) -> int:
        """Number of state variables q."""
        return int(self.step.shape[0])

    @property
    def n_out(self) -> int:
        """Number of outputs that move it."""
        return int(self.push.shape[1])

    @property
    def n_read(self) -> int:
        """Number of variables that the loss reads."""
        return int(self.read.shape[0])

    @property
    def is_closed(self) -> bool:
        """Whether the input reports anything of the state."""
        return bool(np.any(self.seen))

    def delayed(self, bins: int) -> LinearWorld:
        """Return the world whose state the input reports so many bins later.

        Parameters
        ----------
        bins : int
            How much later, 0 or more.

        Returns
        -------
        LinearWorld
            With copies of what is seen, one a bin of delay, as further state variables.

        Raises
        ------
        InputError
            If bins is not a whole number of at least 0.
        """
        bins = positive_int("bins", bins, minimum=0)
        if bins == 0 or self.seen.shape[0] == 0:
            return self
        q, n = self.n_state, self.seen.shape[0]
        step = np.zeros((q + bins * n, q + bins * n))
        step[:q, :q] = self.step
        step[q : q + n, :q] = self.seen
        for k in range(1, bins):
            step[q + k * n : q + (k + 1) * n, q + (k - 1) * n : q + k * n] = np.eye(n)
        more = np.zeros(bins * n)
        seen = np.zeros((n, q + bins * n))
        seen[:, q + (bins - 1) * n :] = np.eye(n)
        return replace(
            self,
            step=step,
            push=np.vstack([self.push, np.zeros((bins * n, self.n_out))]),
            seen=seen,
            read=np.hstack([self.read, np.zeros((self.n_read, bins * n))]),
            offset=np.concatenate([self.offset, more]),
            start=np.concatenate([self.start, more]),
        )

    def response(self, outputs: np.ndarray) -> np.ndarray:
        """Return the states, (trials, time, q), that outputs, (trials, time, n_out), lead to."""
        outputs = as_float_array("outputs", outputs, shape=(None, None, self.n_out))
        states = np.empty((*outputs.shape[:2], self.n_state))
        now = np.broadcast_to(self.start, (len(outputs), self.n_state))
        for t in range(outputs.shape[1]):
            now = now @ self.step.T + outputs[:, t] @ self.push.T + self.offset
            states[:, t] = now
        return states

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LinearWorld):
            return NotImplemented
        return all(np.array_equal(getattr(self, n), getattr(other, n)) for n in _PARTS)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name).tobytes() for name in _PARTS))


_PARTS = ("step", "push", "seen", "read", "offset", "start")
