"""Networks in the span of their starting vectors, as few neurons that stand for N."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.checks import as_float_array, non_negative, positive_int, seed_sequence
from predictlearn.errors import InputError
from predictlearn.theory.loadings import Loadings
from predictlearn.theory.names import pathway_slices
from predictlearn.theory.overlaps import Overlaps

__all__ = ["Factors", "Feedback", "Synapses", "SynapticNetwork"]


@dataclass(frozen=True)
class Feedback:
    """The vectors B by which errors reach the neurons, where they are not the readout Z.

    ``B = Z decoder + private R``, with R random, independent of the network, and of standard
    deviation 1 over neurons.

    Parameters
    ----------
    decoder : float or array_like, (n_out, n_out), default 0.0
        How much of the readout at the start is in B: 1 for the readout itself, as it was then; -1
        for its opposite; a matrix turns or mixes outputs.
    private : float, default 1.0
        Standard deviation of the random part, in the units of the loadings.

    Raises
    ------
    InputError
        If the decoder is neither a number nor a square matrix, or `private` is negative.

    Examples
    --------
    >>> Feedback()  # random, as in feedback alignment
    Feedback(decoder=0.0, private=1.0)
    >>> Feedback(decoder=1.0, private=0.0)  # the readout of the start, whatever becomes of it
    Feedback(decoder=1.0, private=0.0)
    """

    decoder: Any = 0.0
    private: float = 1.0

    def __post_init__(self) -> None:
        decoder = as_float_array("decoder", self.decoder)
        if decoder.ndim not in (0, 2) or (decoder.ndim == 2 and len(set(decoder.shape)) != 1):
            raise InputError(
                f"decoder must be a number or a matrix, (n_out, n_out); got shape {decoder.shape}."
            )
        value = float(decoder) if decoder.ndim == 0 else tuple(map(tuple, decoder.tolist()))
        object.__setattr__(self, "decoder", value)
        object.__setattr__(self, "private", non_negative("private", self.private))

    def mixing(self, n_out: int) -> np.ndarray:
        """Return the matrix, (n_out, n_out), by which Z enters; InputError if it does not fit."""
        decoder = np.asarray(self.decoder, dtype=float)
        if decoder.ndim == 0:
            return float(decoder) * np.eye(n_out)
        if len(decoder) != n_out:
            raise InputError(
                f"decoder must be a number or {n_out} x {n_out} for {n_out} outputs; got "
                f"{len(decoder)} x {len(decoder)}."
            )
        return decoder


def _checked(owner: object, shapes: Mapping[str, tuple[int | None, ...]]) -> None:
    """Check the arrays of a network and make them read-only."""
    for name, shape in shapes.items():
        given = getattr(owner, name)
        if given is None:
            continue
        array = as_float_array(name, given, shape=shape).copy()
        array.flags.writeable = False
        object.__setattr__(owner, name, array)


def _root(matrix: np.ndarray) -> np.ndarray:
    """Return the symmetric square root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T


def _columns(
    overlaps: Overlaps, feedback: Feedback | None
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Return m, u, v, z in an orthonormal basis of their span, and B, with axes of its own."""
    root = _root(overlaps.matrix)
    n_out = overlaps.n_out
    private = feedback is not None and feedback.private > 0
    if private:
        root = np.vstack([root, np.zeros((n_out, root.shape[1]))])
    where = pathway_slices(*overlaps.sizes)
    parts = {p: root[:, s] for p, s in where.items()}
    if feedback is None:
        return parts, None
    b = parts["z"] @ feedback.mixing(n_out)
    if private:
        b[-n_out:] += feedback.private * np.eye(n_out)
    return parts, b


def _alignment(feedback: np.ndarray | None, z: np.ndarray) -> float:
    """Return the cosine between B and Z, taken as long vectors; NaN without feedback."""
    if feedback is None:
        return float("nan")
    size = float(np.linalg.norm(feedback) * np.linalg.norm(z))
    return float(np.sum(feedback * z)) / size if size > 0 else float("nan")


@dataclass(frozen=True)
class Synapses:
    """A network whose synapses W are what they are, in the span of its starting vectors.

    D neurons that stand, exactly where the network is linear, for any number N: in an orthonormal
    basis Q of the span, ``M = sqrt(N) Q m``, ``W = Q w Q'``, ``Z = sqrt(N) Q z``.

    Parameters
    ----------
    m : array_like, (D, n_in)
        Input weights.
    w : array_like, (D, D)
        Recurrent synapses.
    z : array_like, (D, n_out)
        Readout weights; the output is z' r.
    feedback : array_like, (D, n_out), optional
        B, by which errors reach the neurons under rules with feedback of their own. It does not
        learn.

    Raises
    ------
    InputError
        If the arrays do not fit each other.

    Notes
    -----
    Learning stays in the span of the start, so nothing outside of it is ever needed; turning all
    neurons, m -> q m, w -> q w q', z -> q z, changes nothing that a network does or learns.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> start = pl.Overlaps(np.eye(4)).replace(zm=0.1, zu=0.2, vm=0.3, vu=0.5)
    >>> network = pl.Synapses.from_overlaps(start)
    >>> network.function(3)[:, 0, 0].round(3).tolist()  # zm, zu vm, zu vu vm
    [0.1, 0.06, 0.03]
    """

    m: np.ndarray
    w: np.ndarray
    z: np.ndarray
    feedback: np.ndarray | None = field(default=None)

    def __post_init__(self) -> None:
        dim = len(np.atleast_1d(np.asarray(self.w)))
        n_out = np.shape(self.z)[-1] if np.ndim(self.z) else None
        shapes = {"w": (dim, dim), "m": (dim, None), "z": (dim, None), "feedback": (dim, n_out)}
        _checked(self, shapes)

    @classmethod
    def from_overlaps(cls, overlaps: Overlaps, feedback: Feedback | None = None) -> Synapses:
        """Return the network with W = U V' / N of given overlaps.

        Parameters
        ----------
        overlaps : Overlaps
            The low-rank network.
        feedback : Feedback, optional
            How errors reach the neurons; it adds n_out dimensions if it has a random part.

        Returns
        -------
        Synapses
            Of D = n_in + 2 rank + n_out neurons, and those of the feedback.

        Raises
        ------
        InputError
            If overlaps is not an Overlaps, or the feedback does not fit it.
        """
        _require_overlaps(overlaps)
        parts, b = _columns(overlaps, feedback)
        return cls(parts["m"], parts["u"] @ parts["v"].T, parts["z"], b)

    @property
    def dim(self) -> int:
        """Number of dimensions D of the span."""
        return int(self.w.shape[0])

    @property
    def n_in(self) -> int:
        """Number of inputs."""
        return int(self.m.shape[1])

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return int(self.z.shape[1])

    @property
    def alignment(self) -> float:
        """Cosine between feedback and readout; NaN without feedback."""
        return _alignment(self.feedback, self.z)

    @property
    def singular_values(self) -> np.ndarray:
        """Singular values of W, (D,), the largest first; all others of the N are zero."""
        return np.asarray(np.linalg.svd(self.w, compute_uv=False))

    def function(self, n: int) -> np.ndarray:
        """Return the first n Markov parameters, which are all that a linear network does.

        Parameters
        ----------
        n : int
            How many; 2 D determine all others.

        Returns
        -------
        numpy.ndarray, (n, n_out, n_in)
            ``Z' W^k M / N`` for k = 0, 1, ...

        Raises
        ------
        InputError
            If n is not a whole number of at least 1.
        """
        n = positive_int("n", n)
        found, now = [], self.m
        for _ in range(n):
            found.append(self.z.T @ now)
            now = self.w @ now
        return np.array(found)

    def conserved(self) -> np.ndarray:
        """Return what gradient flow leaves unchanged, (D, D): m m' + w w' - w' w - z z'."""
        m, w, z = self.m, self.w, self.z
        return np.asarray(m @ m.T + w @ w.T - w.T @ w - z @ z.T)

    def quantities(self) -> pd.Series:
        """Return what is meant whatever basis the neurons are given in.

        Returns
        -------
        pandas.Series
            ``zm``, ``zwm``, ``zwwm``: what the function is made of; ``mm``, ``zz``, ``ww``: squared
            norms, that of W as the sum of its squared entries; ``w1``, ``w2``: its largest singular
            values; ``c1``, ``c2``: the eigenvalues of `conserved`, upwards. Entries of matrices
            carry their indices.
        """
        values: dict[str, float] = {}

        def put(name: str, left: str, right: str, matrix: np.ndarray, half: bool) -> None:
            for i in range(matrix.shape[0]):
                for j in range(i if half else 0, matrix.shape[1]):
                    first = f"{left}{i + 1}" if matrix.shape[0] > 1 else left
                    last = f"{right}{j + 1}" if matrix.shape[1] > 1 else right
                    values[first + name + last] = float(matrix[i, j])

        for k, found in enumerate(self.function(3)):
            put("w" * k, "z", "m", found, half=False)
        put("", "m", "m", self.m.T @ self.m, half=True)
        put("", "z", "z", self.z.T @ self.z, half=True)
        values["ww"] = float(np.sum(self.w**2))
        values |= {f"w{k + 1}": float(v) for k, v in enumerate(self.singular_values)}
        values |= {
            f"c{k + 1}": float(v) for k, v in enumerate(np.linalg.eigvalsh(self.conserved()))
        }
        return pd.Series(values, name="quantity")

    def with_readout(self, z: np.ndarray, keep_feedback: bool = True) -> Synapses:
        """Return the network read out by other weights, in the same basis.

        Parameters
        ----------
        z : array_like, (D, n_out)
            The new readout.
        keep_feedback : bool, default True
            Keep B as it is, or else let errors come by the readout that was there before.

        Returns
        -------
        Synapses
            The changed network.
        """
        return replace(self, z=z, feedback=self.feedback if keep_feedback else self.z)

    def on_neurons(self, n_neurons: int, seed: int = 0) -> SynapticNetwork:
        """Return N neurons with exactly this network in the span of random vectors.

        Parameters
        ----------
        n_neurons : int
            N, at least D.
        seed : int, default 0
            Seed of the directions.

        Returns
        -------
        SynapticNetwork
            M, W, Z and B of N neurons.

        Raises
        ------
        InputError
            If N is below D.
        """
        n_neurons = positive_int("n_neurons", n_neurons, minimum=self.dim)
        rng = np.random.default_rng(seed_sequence(seed))
        q, _ = np.linalg.qr(rng.standard_normal((n_neurons, self.dim)))
        scale = np.sqrt(n_neurons)
        b = None if self.feedback is None else scale * q @ self.feedback
        return SynapticNetwork(scale * q @ self.m, q @ self.w @ q.T, scale * q @ self.z, b)


@dataclass(frozen=True)
class Factors:
    """A low-rank network in the span of its starting vectors and of its feedback.

    As `Synapses`, but W = u v', of which u and v learn. What `learn` starts from, or ends in, where
    the rule has feedback of its own; without it `Overlaps` say the same.

    Parameters
    ----------
    m : array_like, (D, n_in)
        Input loadings.
    u, v : array_like, (D, rank)
        Recurrent loadings.
    z : array_like, (D, n_out)
        Readout loadings.
    feedback : array_like, (D, n_out), optional
        B.

    Raises
    ------
    InputError
        If the arrays do not fit each other.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> start = pl.Overlaps(np.eye(4)).replace(zm=0.1)
    >>> network = pl.Factors.from_overlaps(start, pl.Feedback())
    >>> round(network.overlaps["zm"], 12), round(network.alignment, 12)
    (0.1, 0.0)
    """

    m: np.ndarray
    u: np.ndarray
    v: np.ndarray
    z: np.ndarray
    feedback: np.ndarray | None = field(default=None)

    def __post_init__(self) -> None:
        dim = len(np.atleast_1d(np.asarray(self.u)))
        rank = np.shape(self.u)[-1] if np.ndim(self.u) else None
        n_out = np.shape(self.z)[-1] if np.ndim(self.z) else None
        shapes = {"m": (dim, None), "u": (dim, rank), "v": (dim, rank), "z": (dim, None)}
        _checked(self, shapes | {"feedback": (dim, n_out)})

    @classmethod
    def from_overlaps(cls, overlaps: Overlaps, feedback: Feedback | None = None) -> Factors:
        """Return the network of given overlaps; see `Synapses.from_overlaps`."""
        _require_overlaps(overlaps)
        parts, b = _columns(overlaps, feedback)
        return cls(parts["m"], parts["u"], parts["v"], parts["z"], b)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(n_in, rank, n_out)."""
        return self.m.shape[1], self.u.shape[1], self.z.shape[1]

    @property
    def stacked(self) -> np.ndarray:
        """[m u v z], (D, columns)."""
        return np.hstack([self.m, self.u, self.v, self.z])

    @property
    def overlaps(self) -> Overlaps:
        """Overlaps of m, u, v and z."""
        theta = self.stacked
        return Overlaps(theta.T @ theta, *self.sizes)

    @property
    def alignment(self) -> float:
        """Cosine between feedback and readout; NaN without feedback."""
        return _alignment(self.feedback, self.z)

    def on_neurons(self, n_neurons: int, seed: int = 0) -> tuple[Loadings, np.ndarray | None]:
        """Return loadings of N neurons, and their feedback, (N, n_out), or None.

        Parameters
        ----------
        n_neurons : int
            N, at least D.
        seed : int, default 0
            Seed of the directions.

        Raises
        ------
        InputError
            If N is below D.
        """
        n_neurons = positive_int("n_neurons", n_neurons, minimum=len(self.m))
        rng = np.random.default_rng(seed_sequence(seed))
        q, _ = np.linalg.qr(rng.standard_normal((n_neurons, len(self.m))))
        q *= np.sqrt(n_neurons)
        b = None if self.feedback is None else q @ self.feedback
        return Loadings(q @ self.m, q @ self.u, q @ self.v, q @ self.z), b


@dataclass(frozen=True)
class SynapticNetwork:
    """N neurons with their synapses: input weights M, recurrent synapses W, readout Z.

    Parameters
    ----------
    m : array_like, (N, n_in)
        Input weights.
    w : array_like, (N, N)
        Recurrent synapses.
    z : array_like, (N, n_out)
        Readout weights; the output is Z' r / N.
    feedback : array_like, (N, n_out), optional
        B.

    Raises
    ------
    InputError
        If the arrays do not fit each other.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> loadings = pl.Overlaps(np.eye(4)).loadings(50)
    >>> pl.SynapticNetwork.from_loadings(loadings).w.shape
    (50, 50)
    """

    m: np.ndarray
    w: np.ndarray
    z: np.ndarray
    feedback: np.ndarray | None = field(default=None)

    def __post_init__(self) -> None:
        n = len(np.atleast_1d(np.asarray(self.w)))
        n_out = np.shape(self.z)[-1] if np.ndim(self.z) else None
        _checked(self, {"w": (n, n), "m": (n, None), "z": (n, None), "feedback": (n, n_out)})

    @classmethod
    def from_loadings(
        cls, loadings: Loadings, feedback: np.ndarray | None = None
    ) -> SynapticNetwork:
        """Return the network with W = U V' / N.

        Parameters
        ----------
        loadings : Loadings
            The low-rank network.
        feedback : array_like, (N, n_out), optional
            B.

        Returns
        -------
        SynapticNetwork
            The same network, whose synapses may learn.
        """
        return cls(loadings.m, loadings.u @ loadings.v.T / loadings.n_neurons, loadings.z, feedback)

    @property
    def n_neurons(self) -> int:
        """Number of neurons N."""
        return int(self.w.shape[0])

    def function(self, n: int) -> np.ndarray:
        """Return the first n Markov parameters ``Z' W^k M / N``, (n, n_out, n_in)."""
        return Synapses(
            self.m / np.sqrt(self.n_neurons), self.w, self.z / np.sqrt(self.n_neurons)
        ).function(n)


def _require_overlaps(overlaps: object) -> None:
    """Raise unless an argument is an Overlaps."""
    if not isinstance(overlaps, Overlaps):
        raise InputError(f"overlaps must be an Overlaps; got {type(overlaps).__name__}.")
