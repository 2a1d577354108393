"""Populations: a mixture of groups of neurons, each with its own overlap matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from predictlearn.checks import as_float_array, non_negative, positive, positive_int, seed_sequence
from predictlearn.errors import InputError
from predictlearn.theory.loadings import Loadings, loadings_of
from predictlearn.theory.names import PATHWAYS
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.sizes import Sizes

__all__ = ["PopulationLoadings", "Populations", "population_name"]


def population_name(overlap: str, population: int) -> str:
    """Return the name of an overlap of a population, counted from 1.

    Examples
    --------
    >>> population_name("zm1", 2)
    'zm1 of population 2'
    """
    return f"{overlap} of population {population}"


@dataclass(frozen=True)
class PopulationLoadings:
    """Loading vectors of an N-neuron network, and the population of every neuron.

    Parameters
    ----------
    loadings : Loadings
        m, u, v, z of all neurons.
    labels : array_like of int, (N,)
        Population of each neuron, 1 upwards; each has at least one neuron.

    Raises
    ------
    InputError
        If labels do not fit the loadings, or a population has no neuron.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> one, two = pl.Overlaps(np.eye(4)), pl.Overlaps(2 * np.eye(4))
    >>> network = pl.Populations((0.25, 0.75), (one, two)).loadings(100)
    >>> np.bincount(network.labels).tolist()
    [0, 25, 75]
    >>> round(network.populations().overlaps[1]["uu"], 12)
    2.0
    """

    loadings: Loadings
    labels: np.ndarray

    def __post_init__(self) -> None:
        if not isinstance(self.loadings, Loadings):
            raise InputError(f"loadings must be a Loadings; got {type(self.loadings).__name__}.")
        labels = as_float_array("labels", self.labels, shape=(self.loadings.n_neurons,))
        whole = labels.astype(int)
        present = np.unique(whole)
        if np.any(whole != labels) or not np.array_equal(present, np.arange(1, present.size + 1)):
            raise InputError(
                "labels must be whole numbers from 1 upwards, with a neuron in each population; "
                f"got the values {np.unique(labels)[:10].tolist()}."
            )
        whole.flags.writeable = False
        object.__setattr__(self, "labels", whole)

    @property
    def n_populations(self) -> int:
        """Number of populations P."""
        return int(self.labels.max())

    @property
    def fractions(self) -> tuple[float, ...]:
        """Share of each population among the neurons."""
        return tuple((np.bincount(self.labels)[1:] / self.labels.size).tolist())

    def populations(self) -> Populations:
        """Return the populations with these fractions and overlaps."""
        arrays = [getattr(self.loadings, pathway) for pathway in PATHWAYS]
        members = [self.labels == label for label in range(1, self.n_populations + 1)]
        return Populations(
            self.fractions,
            tuple(Overlaps.from_loadings(*(array[who] for array in arrays)) for who in members),
        )


@dataclass(frozen=True)
class Populations:
    """P populations of neurons, each with zero-mean loadings of its own overlap matrix S_p.

    All neurons share the activity h = M k_m + U k_u; each population answers with its own gain::

        tau dk_u/dt = -k_u + sum over p of f_p g(Delta_p) [S_p,vm k_m + S_p,vu k_u]
        y           =        sum over p of f_p g(Delta_p) [S_p,zm k_m + S_p,zu k_u]
        Delta_p     = k' S_p,bb k,      S_p,bb the (m, u) block of S_p

    A linear network sees only ``total``, the sum of f_p S_p; any other tells populations apart.

    Parameters
    ----------
    fractions : sequence of float, (P,)
        Share f_p of each population among the neurons; positive, of sum 1.
    overlaps : sequence of Overlaps
        S_p = Theta_p' Theta_p / N_p of each, all of the same sizes.

    Raises
    ------
    InputError
        If fractions are not positive or do not sum to 1, or sizes disagree.

    Notes
    -----
    Populations count from 1 in names and tables, and from 0 in the tuples `fractions` and
    `overlaps`, as usual.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> one = pl.Overlaps(np.eye(4)).replace(zm=0.3)
    >>> both = pl.Populations((0.25, 0.75), (one, pl.Overlaps(2 * np.eye(4))))
    >>> both.overlaps[0]["zm"], both.total["mm"]
    (0.3, 1.75)
    """

    fractions: tuple[float, ...]
    overlaps: tuple[Overlaps, ...]

    def __post_init__(self) -> None:
        overlaps = (self.overlaps,) if isinstance(self.overlaps, Overlaps) else self.overlaps
        if not isinstance(overlaps, Sequence) or not overlaps:
            raise InputError(
                "overlaps must be a sequence of one Overlaps for each population; "
                f"got {type(overlaps).__name__} of {overlaps!r}."
            )
        for item in overlaps:
            if not isinstance(item, Overlaps):
                raise InputError(f"overlaps must hold Overlaps; got {type(item).__name__}.")
            if item.sizes != overlaps[0].sizes:
                raise InputError(
                    "all populations must have the same n_in, rank and n_out; "
                    f"got {overlaps[0].sizes} and {item.sizes}."
                )
        shares = as_float_array("fractions", self.fractions, ndim=1)
        if shares.size != len(overlaps):
            raise InputError(
                f"fractions must be one number for each of the {len(overlaps)} populations; "
                f"got {shares.size}."
            )
        if np.any(shares <= 0):
            raise InputError(f"fractions must be positive; got {shares.tolist()}.")
        if abs(shares.sum() - 1) > 1e-9:
            raise InputError(f"fractions must sum to 1; they sum to {shares.sum():.12g}.")
        # thirds and tenths: the sum is 1 to rounding, and so it shall be
        object.__setattr__(self, "fractions", tuple((shares / shares.sum()).tolist()))
        object.__setattr__(self, "overlaps", tuple(overlaps))

    @classmethod
    def random(
        cls,
        n_populations: int = 2,
        n_in: int = 1,
        rank: int = 1,
        n_out: int = 1,
        *,
        fractions: Sequence[float] | None = None,
        neurons: int = 40,
        norm: float = 1.0,
        spread: float = 0.5,
        seed: int | np.random.SeedSequence = 0,
    ) -> Populations:
        """Return populations with overlaps drawn at random, differing from each other.

        Parameters
        ----------
        n_populations : int, default 2
            P.
        n_in, rank, n_out : int, default 1
            Sizes.
        fractions : sequence of float, optional
            Shares; equal if not given.
        neurons : int, default 40
            Each S_p is that of so many neurons with independent normal loadings, so an overlap of
            two different vectors has a standard deviation of about ``norm / sqrt(neurons)``.
        norm : float, default 1.0
            Mean squared norm of a loading vector, over neurons.
        spread : float, default 0.5
            Each vector of each population is scaled by ``exp(x)``, x uniform from -spread to
            spread.
        seed : int, default 0
            Seed of the draw.

        Returns
        -------
        Populations
            The draw.

        Raises
        ------
        InputError
            If an argument is out of range.

        Examples
        --------
        >>> Populations.random(2, seed=1).n_populations
        2
        """
        n_populations = positive_int("n_populations", n_populations)
        sizes = (positive_int("n_in", n_in), positive_int("rank", rank))
        dim = Sizes(*sizes, positive_int("n_out", n_out)).dim
        neurons = positive_int("neurons", neurons, minimum=dim)
        norm, spread = positive("norm", norm), non_negative("spread", spread)
        rng = np.random.default_rng(seed_sequence(seed))
        drawn = []
        for _ in range(n_populations):
            theta = np.sqrt(norm) * rng.standard_normal((neurons, dim))
            theta *= np.exp(rng.uniform(-spread, spread, size=dim))
            drawn.append(Overlaps(theta.T @ theta / neurons, n_in, rank, n_out))
        shares = np.full(n_populations, 1 / n_populations) if fractions is None else fractions
        return cls(tuple(shares), tuple(drawn))

    @classmethod
    def from_array(
        cls, fractions: Sequence[float], array: np.ndarray, sizes: tuple[int, int, int]
    ) -> Populations:
        """Return populations from stacked matrices, (P, D, D), and (n_in, rank, n_out)."""
        return cls(tuple(fractions), tuple(Overlaps(matrix, *sizes) for matrix in array))

    # -- sizes and entries --------------------------------------------------------------------

    @property
    def n_populations(self) -> int:
        """Number of populations P."""
        return len(self.overlaps)

    @property
    def sizes(self) -> Sizes:
        """The triple (n_in, rank, n_out)."""
        return self.overlaps[0].sizes

    @property
    def dim(self) -> int:
        """D = n_in + 2 rank + n_out."""
        return self.overlaps[0].dim

    @property
    def array(self) -> np.ndarray:
        """All S_p, (P, D, D): a copy."""
        return np.stack([item.matrix for item in self.overlaps])

    @property
    def total(self) -> Overlaps:
        """The overlaps of all neurons together, the sum of f_p S_p: all that linear ones need."""
        return Overlaps(np.tensordot(self.fractions, self.array, axes=1), *self.sizes)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all overlaps, population by population: ``"zm of population 1"``."""
        return tuple(
            population_name(name, p + 1)
            for p in range(self.n_populations)
            for name in self.sizes.names
        )

    def to_series(self) -> pd.Series:
        """Return all overlaps by name."""
        values = np.concatenate([item.to_series().to_numpy() for item in self.overlaps])
        return pd.Series(values, index=list(self.names), name="overlap")

    def to_frame(self) -> pd.DataFrame:
        """Return a tidy table: one row an overlap, with population, fraction, overlap, value."""
        parts = [
            pd.DataFrame(
                {
                    "population": p + 1,
                    "fraction": share,
                    "overlap": item.names,
                    "value": item.to_series().to_numpy(),
                }
            )
            for p, (share, item) in enumerate(zip(self.fractions, self.overlaps, strict=True))
        ]
        return pd.concat(parts, ignore_index=True)

    # -- other populations, and networks ------------------------------------------------------

    def replace(self, changes: Mapping[int, Overlaps]) -> Populations:
        """Return a copy in which some populations, counted from 1, have other overlaps.

        Parameters
        ----------
        changes : mapping of int to Overlaps
            New overlaps by population.

        Returns
        -------
        Populations
            The changed mixture.

        Raises
        ------
        InputError
            If there is no such population, or sizes disagree.
        """
        overlaps = list(self.overlaps)
        for population, item in changes.items():
            overlaps[self.place(population)] = item
        return Populations(self.fractions, tuple(overlaps))

    def place(self, population: int) -> int:
        """Return the place of a population, counted from 1, in the tuples; or raise InputError."""
        known = range(1, self.n_populations + 1)
        if isinstance(population, bool) or population not in known:
            raise InputError(
                f"population must be a whole number from 1 to {self.n_populations}; "
                f"got {population!r}."
            )
        return int(population) - 1

    def permuted(self, order: Sequence[int]) -> Populations:
        """Return the same mixture with the populations, counted from 1, in another order."""
        places = [self.place(population) for population in order]
        if sorted(places) != list(range(self.n_populations)):
            raise InputError(
                f"order must name each of the populations 1 to {self.n_populations} once; "
                f"got {list(order)!r}."
            )
        return Populations(
            tuple(self.fractions[i] for i in places), tuple(self.overlaps[i] for i in places)
        )

    def neurons(self, n_neurons: int) -> tuple[int, ...]:
        """Return how many of N neurons each population gets, by largest remainders.

        Parameters
        ----------
        n_neurons : int
            N; each population must get at least D neurons.

        Returns
        -------
        tuple of int
            Numbers of sum N, within 1 of f_p N.

        Raises
        ------
        InputError
            If a population would get fewer than D neurons.
        """
        n_neurons = positive_int("n_neurons", n_neurons)
        exact = n_neurons * np.asarray(self.fractions)
        # f_p N that is whole but for rounding is whole
        counts = np.floor(exact + 1e-9).astype(int)
        rest = exact - counts
        for place in np.argsort(-rest, kind="stable")[: n_neurons - int(counts.sum())]:
            counts[place] += 1
        if counts.min() < self.dim:
            smallest = int(np.argmin(counts))
            raise InputError(
                f"n_neurons must give every population at least D = {self.dim} neurons; of "
                f"{n_neurons}, population {smallest + 1} gets {counts[smallest]}. "
                f"About {int(np.ceil(self.dim / min(self.fractions)))} are enough."
            )
        return tuple(int(count) for count in counts)

    def loadings(self, n_neurons: int, seed: int = 0) -> PopulationLoadings:
        """Return random loadings in which every population has exactly its overlaps.

        Parameters
        ----------
        n_neurons : int
            N; divided among populations by `neurons`, so their shares are within 1 / N of
            `fractions`, and exactly those where f_p N is whole.
        seed : int, default 0
            Seed of the random directions.

        Returns
        -------
        PopulationLoadings
            Loadings of all neurons, population by population, with their labels.

        Raises
        ------
        InputError
            If a population would get fewer than D neurons.

        Examples
        --------
        >>> import numpy as np
        >>> start = Populations.random(3, seed=2)
        >>> found = start.loadings(60).populations()
        >>> bool(np.allclose(found.array, start.array, atol=1e-13))
        True
        """
        counts = self.neurons(n_neurons)
        children = seed_sequence(seed).spawn(self.n_populations)
        parts = [
            loadings_of(item.matrix, self.sizes, count, child).stacked
            for item, count, child in zip(self.overlaps, counts, children, strict=True)
        ]
        theta = np.concatenate(parts)
        where = self.sizes.slices
        labels = np.repeat(np.arange(1, self.n_populations + 1), counts)
        return PopulationLoadings(Loadings(*(theta[:, where[p]] for p in PATHWAYS)), labels)
