"""Trials to a criterion: when it is reached, how long that takes by chance, and where it is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from predictlearn.arrays import Array
from predictlearn.behaviour.base import checked_range
from predictlearn.checks import as_float_array, non_negative, positive_int
from predictlearn.errors import InputError, choice, nearest

__all__ = ["Criterion"]

# Outcomes of the last trials are followed as bits, (window - 1) of them, unless all must be right.
_WIDEST = 14
_DIRECTIONS = ("above", "below")


@dataclass(frozen=True)
class Criterion:
    """A level that the mean of the last ``window`` trials reaches.

    Of correct and wrong trials it is "k of n": 8 of 10 is ``Criterion(0.8, 10)``, 5 in a row
    ``Criterion(1.0, 5)``. Errors in degrees or mm fall: ``Criterion(5.0, 20, "below")``.

    Parameters
    ----------
    level : float
        What the mean has to reach, in units of the outcome: a share for correct trials.
    window : int
        Trials in the mean. Windows run on over the ends of sessions unless `within_session`.
    direction : {"above", "below"}, default "above"
        Whether the mean has to rise to the level or fall to it.
    within_session : bool, default False
        Count the window anew in every session.

    Raises
    ------
    InputError
        If a number is out of range.

    Examples
    --------
    >>> Criterion(0.8, 5).first([0, 1, 1, 0, 1, 1, 1])
    6
    """

    level: float
    window: int
    direction: str = "above"
    within_session: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "level", float(as_float_array("level", self.level, ndim=0)))
        object.__setattr__(self, "window", positive_int("window", self.window))
        choice("direction", self.direction, _DIRECTIONS)

    @property
    def least(self) -> int:
        """How many of a window's trials must be correct, for outcomes 0 and 1."""
        if self.direction != "above" or not 0 < self.level <= 1:
            raise InputError(
                "probabilities of correct trials need a criterion above a share between 0 and 1; "
                f"this one is {self.direction} {self.level:g}."
            )
        return int(np.ceil(self.level * self.window - 1e-9))

    def first(self, outcomes: Any) -> int | None:
        """Return at which trial, counted from 1, the criterion is first reached; None if never.

        Parameters
        ----------
        outcomes : array_like, (trials,)
            Outcomes of trials in their order.
        """
        values = as_float_array("outcomes", outcomes, ndim=1)
        if len(values) < self.window:
            return None
        sums = np.cumsum(np.concatenate([[0.0], values]))
        means = (sums[self.window :] - sums[: -self.window]) / self.window
        slack = 1e-9 * max(1.0, abs(self.level))
        up = (
            means >= self.level - slack
            if self.direction == "above"
            else means <= self.level + slack
        )
        return int(np.argmax(up)) + self.window if np.any(up) else None

    def trials_to_criterion(
        self, table: pd.DataFrame, outcome: str = "correct", seconds_per_trial: float | None = None
    ) -> pd.DataFrame:
        """Return for every subject the trials to criterion, censored where it was not reached.

        Parameters
        ----------
        table : DataFrame
            One row a trial: subject, session, the outcome; arm if there are several. In the order
            of sessions and of the column trial, if there is one, else in that of the rows.
        outcome : str, default "correct"
            Column of the outcome.
        seconds_per_trial : float, optional
            Gives the time as well.

        Returns
        -------
        DataFrame
            One row a subject: subject, arm, trials (to criterion, or in all where it is censored),
            reached (False: censored), session in which it was reached, or the last; seconds if
            asked. For tests of survival.

        Raises
        ------
        InputError
            If a column is missing, an outcome not a number or, of "correct", not from 0 to 1 (with
            its row), or a window longer than every session it should lie in.

        Examples
        --------
        >>> import pandas as pd
        >>> table = pd.DataFrame(
        ...     {"subject": list("aaabbb"), "session": 1, "correct": [0, 1, 1, 1, 0, 1]})
        >>> Criterion(1.0, 2).trials_to_criterion(table)[["trials", "reached"]].values.tolist()
        [[3, True], [3, False]]
        """
        if not isinstance(table, pd.DataFrame):
            raise InputError(f"table must be a DataFrame; got {type(table).__name__}.")
        keys = [name for name in ("arm", "subject") if name in table]
        for name in ("subject", "session", outcome):
            if name not in table:
                close = nearest(name, map(str, table.columns))
                hint = f" Did you mean {close!r}?" if close else ""
                raise InputError(
                    f"table must have the columns subject, session and {outcome}; {name} is "
                    f"missing.{hint}"
                )
        most = np.finfo(float).max
        limits = (0.0, 1.0) if outcome == "correct" else (-most, most)
        checked_range(outcome, table[outcome].to_numpy(), *limits)
        order = [name for name in ("session", "trial") if name in table]
        table = table.sort_values(order, kind="stable")
        by = ["subject", *(["arm"] if "arm" in table else []), "session"]
        longest = int(table.groupby(by, observed=True).size().max()) if len(table) else 0
        if self.within_session and self.window > longest:
            raise InputError(
                f"window must be at most the trials of a session, {longest} in the longest; got "
                f"{self.window}."
            )
        rows = []
        for key, own in table.groupby(keys, sort=False, observed=True):
            values, sessions = own[outcome].to_numpy(dtype=float), own["session"].to_numpy()
            at = self._first_of(values, sessions)
            last = len(values) if at is None else at
            rows.append((*key, last, at is not None, sessions[last - 1]))
        found = pd.DataFrame(rows, columns=[*keys, "trials", "reached", "session"])
        front = [name for name in ("subject", "arm") if name in found]
        found = found[[*front, "trials", "reached", "session"]]
        if seconds_per_trial is not None:
            seconds = non_negative("seconds_per_trial", seconds_per_trial)
            found["seconds"] = found["trials"] * seconds
        return found

    def _first_of(self, values: Array, sessions: np.ndarray) -> int | None:
        """Return at which trial of a subject it is reached."""
        if not self.within_session:
            return self.first(values)
        cuts = np.flatnonzero(np.append(True, sessions[1:] != sessions[:-1]))
        for start, stop in zip(cuts, np.append(cuts[1:], len(values)), strict=True):
            at = self.first(values[start:stop])
            if at is not None:
                return int(start) + at
        return None

    def distribution(self, probabilities: Any) -> Array:
        """Return the probability that the criterion is first reached at each trial, exactly.

        Trials are independent, each with its own probability of being correct: the outcomes of the
        last ``window - 1`` trials are followed as a Markov chain.

        Parameters
        ----------
        probabilities : array_like, (trials,)
            Probability of a correct outcome in each trial.

        Returns
        -------
        numpy.ndarray, (trials,)
            ``P(T = t)``; what is missing to 1 is the probability of not reaching it: censored.

        Raises
        ------
        InputError
            If a probability is out of range, with its row; or the window is wider than 14 trials
            and not all have to be correct, for which there is no closed form here: simulate.

        Examples
        --------
        >>> Criterion(1.0, 2).distribution([0.5, 0.5, 0.5, 0.5]).tolist()
        [0.0, 0.25, 0.125, 0.125]
        """
        p = checked_range("probabilities", probabilities, 0.0, 1.0)
        if p.ndim != 1:
            raise InputError(f"probabilities must have one axis, (trials,); got shape {p.shape}.")
        if self.within_session:
            raise InputError("distribution is of windows that run on over the ends of sessions.")
        if self.least == self.window:
            return self._of_a_run(p)
        self._narrow()
        return self._of_k_in_n(p)

    def _narrow(self) -> None:
        """Raise if the window is too wide to be followed."""
        if self.window > _WIDEST:
            raise InputError(
                f"window must be at most {_WIDEST} for the exact distribution, unless all of its "
                f"trials must be correct; got {self.window}. Simulate, and use "
                "trials_to_criterion."
            )

    def _of_a_run(self, p: Array) -> Array:
        """Return the distribution of the first run: states are the length of the run so far."""
        state = np.zeros(self.window)
        state[0] = 1.0
        found = np.empty(len(p))
        for t, right in enumerate(p):
            found[t] = state[-1] * right
            total = state.sum()
            state[1:] = state[:-1] * right
            state[0] = total * (1 - right)
        return found

    def _of_k_in_n(self, p: Array) -> Array:
        """Return the distribution for k of n: states are the last n - 1 outcomes, as bits."""
        size = 2 ** (self.window - 1)
        states = np.arange(size)
        ones = np.array([int(s).bit_count() for s in states])
        state = np.zeros(size)
        # before the first trial nothing was correct, which cannot bring the criterion on
        state[0] = 1.0
        wrong_to, right_to = (states << 1) % size, ((states << 1) | 1) % size
        # a correct trial that completes k in n; a wrong one never does, or it was reached before
        done = ones + 1 >= self.least
        found = np.empty(len(p))
        for t, right in enumerate(p):
            full = t + 1 >= self.window
            # k correct of fewer trials than a window: it is reached when the window is full
            ends = done if full else np.zeros(size, dtype=bool)
            late = (ones >= self.least) if full else np.zeros(size, dtype=bool)
            found[t] = right * state[ends].sum() + (1 - right) * state[late].sum()
            after = np.bincount(
                right_to[~ends], weights=right * state[~ends], minlength=size
            ) + np.bincount(wrong_to[~late], weights=(1 - right) * state[~late], minlength=size)
            state = after
        return found

    def mean_trials(self, probability: float) -> float:
        """Return the mean number of trials to criterion at one probability of correct outcomes.

        In closed form for k in a row, (1 - p^k) / (p^k (1 - p)) (Feller 1968, An Introduction to
        Probability Theory I, XIII.7); by the Markov chain's linear equations for k of n.

        Parameters
        ----------
        probability : float
            Of a correct outcome in every trial.

        Returns
        -------
        float
            Trials; infinite at probability 0.

        Raises
        ------
        InputError
            As `distribution`.

        Examples
        --------
        >>> Criterion(1.0, 2).mean_trials(0.5)
        6.0
        """
        p = float(checked_range("probability", probability, 0.0, 1.0))
        k = self.least
        if p == 0:
            return np.inf
        if k == self.window:
            return float(k) if p == 1 else float(-np.expm1(k * np.log(p)) / (p**k * (1 - p)))
        self._narrow()
        # after so many trials the first windows are behind: what is left solves (1 - Q) T = 1
        return self._mean_of_k_in_n(p)

    def _mean_of_k_in_n(self, p: float) -> float:
        """Return the mean by first steps: 1 + the mean from where the step leads."""
        from scipy import sparse
        from scipy.sparse import linalg

        size, n = 2 ** (self.window - 1), self.window
        states = np.arange(size)
        ones = np.array([int(s).bit_count() for s in states])
        wrong_to, right_to = (states << 1) % size, ((states << 1) | 1) % size
        # states in which k are correct already end at the next trial, whatever it is
        stays_wrong, stays_right = ones < self.least, ones + 1 < self.least
        chain = sparse.coo_matrix(
            (
                np.concatenate([p * stays_right, (1 - p) * stays_wrong]),
                (np.tile(states, 2), np.concatenate([right_to, wrong_to])),
            ),
            shape=(size, size),
        )
        left = linalg.spsolve((sparse.eye(size) - chain).tocsc(), np.ones(size))
        # the first n - 1 trials end nothing: where they lead to
        start = np.zeros(size)
        start[0] = 1.0
        for _ in range(n - 1):
            start = np.bincount(right_to, weights=p * start, minlength=size) + np.bincount(
                wrong_to, weights=(1 - p) * start, minlength=size
            )
        return float(n - 1 + start @ left)

    def log_likelihood(self, trials: Any, reached: Any, probabilities: Any) -> float:
        """Return the log likelihood of trials to criterion, censored ones by not having reached it.

        Parameters
        ----------
        trials : array_like of int, (subjects,)
            Trials to criterion, or in all where censored.
        reached : array_like of bool, (subjects,)
            False where censored.
        probabilities : array_like, (trials,) or (subjects, trials)
            Probability of a correct outcome in each trial, one curve for all or one a subject.

        Returns
        -------
        float
            The sum, natural logarithm.

        Raises
        ------
        InputError
            If a count is out of range, with its row.

        Examples
        --------
        >>> rule = Criterion(1.0, 2)
        >>> round(rule.log_likelihood([2, 4], [True, False], [0.5] * 4), 3)
        -2.079
        """
        p = as_float_array("probabilities", probabilities)
        if p.ndim not in (1, 2):
            raise InputError(
                f"probabilities must be (trials,) or (subjects, trials); got shape {p.shape}."
            )
        counts = checked_range("trials", trials, 1, p.shape[-1], whole=True).astype(int)
        events = checked_range("reached", np.asarray(reached, dtype=float), 0, 1, whole=True) == 1
        if (
            counts.shape != events.shape
            or counts.ndim != 1
            or (p.ndim == 2 and len(p) != len(counts))
        ):
            raise InputError(
                "trials, reached and probabilities must have one row a subject; got "
                f"{counts.shape}, {events.shape} and {p.shape}."
            )
        several = p if p.ndim == 2 else p[None]
        laws = [self.distribution(curve) for curve in several]
        total = 0.0
        for i, (count, event) in enumerate(zip(counts, events, strict=True)):
            law = laws[i if p.ndim == 2 else 0]
            chance = law[count - 1] if event else max(1.0 - law[:count].sum(), 0.0)
            total += float(special.xlogy(1.0, chance))
        return total
