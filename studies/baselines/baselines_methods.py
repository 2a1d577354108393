"""Every method of baselines.md with the candidates among which its inner split chooses."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from baselines_backprop import BackpropRNN
from baselines_data import Set
from baselines_linear import FactorLDS, PCARegression, ResidualRegression, StaticFactors, lagged
from sklearn.linear_model import PoissonRegressor

import predictlearn as pl
from predictlearn.errors import ConvergenceWarning

RANKS = (1, 2, 3)
DIMS = (1, 2, 3, 4, 6, 8)
LDS_DIMS = (1, 2, 4, 8)
SETTLE = 20  # bins that a static sample's input is held for before the one that is compared


@dataclass(frozen=True)
class Method:
    """Candidates by label, and what scores them: "r2" or, for models of counts, "bits"."""

    name: str
    candidates: dict[str, Callable[[], Any]]
    chosen_by: str = "r2"
    past: bool = False  # whether it can use recorded past bins


class Ours:
    """`LowRankRNN` with the three methods of the baselines."""

    def __init__(self, rank: int, settings: dict[str, Any], dt: float, **more: Any) -> None:
        self.settings = {**settings, "rank": rank, "dt": dt, "n_bootstrap": 0, **more}

    def fit(self, y: np.ndarray, x: np.ndarray) -> Ours:
        """Fit, timed."""
        began = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.model = pl.LowRankRNN(**self.settings).fit(y, x)
        self.seconds = time.process_time() - began
        rank, n_in, n = self.model.rank, x.shape[2], y.shape[2]
        searched = rank * (n_in + rank) + sum(
            self.settings.get(name) == "fit" for name in ("tau", "latency")
        )
        self.n_parameters = searched + n * (n_in + rank + int(self.settings.get("offset", False)))
        return self

    def open_loop(self, x: np.ndarray) -> np.ndarray:
        """Predict from inputs alone."""
        return self.model.predict(x)


class Stochastic:
    """`StochasticLowRankRNN`, with past input bins in place of a latency."""

    def __init__(self, rank: int, dt: float, tau: float, lags: int) -> None:
        self.settings = {"rank": rank, "dt": dt, "tau": tau, "n_bootstrap": 0}
        self.lags = lags

    def fit(self, y: np.ndarray, x: np.ndarray) -> Stochastic:
        """Fit, timed."""
        wide = lagged(x, self.lags)
        began = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.model = pl.StochasticLowRankRNN(**self.settings).fit(y, wide)
        self.seconds = time.process_time() - began
        rank, n_in, n = self.model.rank, wide.shape[2], y.shape[2]
        self.n_parameters = n * (n_in + rank + 2) + rank * (n_in + rank) + rank * (rank + 2)
        return self

    def open_loop(self, x: np.ndarray) -> np.ndarray:
        """Predict from inputs alone."""
        return self.model.predict(lagged(x, self.lags))

    def one_step(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Smooth the bins before each one, and take one step."""
        model, out = self.model, self.open_loop(x)
        wide = lagged(x, self.lags)
        a = model.dt / model.tau_
        k_m = np.zeros((len(x), wide.shape[2]))
        first = model.initial_[0]
        mean = np.tile(first, (len(x), 1))  # of k_u from inputs alone, as in open loop
        for t in range(1, x.shape[1]):
            k_m = (1 - a) * k_m + a * wide[:, t - 1]
            now = model.smooth(y[:, :t], wide[:, :t]).mean[:, t - 1]
            # what the past changes in k_u, carried one step on
            step = (1 - a) * np.eye(model.rank) + a * model.vu_
            drive = a * k_m @ model.vm_.T
            out[:, t] += (now - mean) @ step.T @ model.u_.T
            mean = mean @ step.T + drive
        return out


class PoissonFilter:
    """Poisson regression of every neuron on the inputs and their past bins (scikit-learn)."""

    def __init__(self, lags: int) -> None:
        self.lags = lags

    def _design(self, x: np.ndarray) -> np.ndarray:
        wide = lagged(x, self.lags)
        return wide.reshape(-1, wide.shape[2])

    def fit(self, y: np.ndarray, x: np.ndarray) -> PoissonFilter:
        """Fit every neuron."""
        design, flat = self._design(x), y.reshape(-1, y.shape[2])
        began = time.process_time()
        self.models = [PoissonRegressor(alpha=0.01, max_iter=300).fit(design, n) for n in flat.T]
        self.seconds = time.process_time() - began
        self.n_parameters = flat.shape[1] * (design.shape[1] + 1)
        return self

    def open_loop(self, x: np.ndarray) -> np.ndarray:
        """Predict rates."""
        design = self._design(x)
        out = np.stack([model.predict(design) for model in self.models], axis=1)
        return out.reshape(*x.shape[:2], -1)


class Settled:
    """A network held at each sample's input until it has settled, its last bin compared."""

    def __init__(self, model: Any) -> None:
        self.model = model

    @staticmethod
    def held(x: np.ndarray) -> np.ndarray:
        """Hold the input for `SETTLE` bins."""
        return np.repeat(x, SETTLE, axis=1)

    def fit(self, y: np.ndarray, x: np.ndarray, held_out: Any = None, **how: Any) -> Settled:
        """Fit to the last bin, all others missing."""
        if held_out is not None:
            how["held_out"] = (held_out[0], self.held(held_out[1]))
            score = how["score"]
            how["score"] = lambda y, p: score(y, p[:, -1:])
        wide = np.full((len(y), SETTLE, y.shape[2]), np.nan)
        wide[:, -1:] = y
        self.model.fit(wide, self.held(x), **how)
        self.seconds, self.n_parameters = self.model.seconds, self.model.n_parameters
        return self

    def open_loop(self, x: np.ndarray) -> np.ndarray:
        """Predict the last bin."""
        return self.model.open_loop(self.held(x))[:, -1:]


def backprop(data: Set, rank: int, poisson: bool, n_steps: int | None = None) -> Any:
    """Return a network to train, of the structure of `LowRankRNN` with the set's settings."""
    settings = data.settings | ({"nonlinearity": "linear"} if poisson else {})
    if poisson:
        settings = settings | {"observed": "current"}
    model = BackpropRNN(rank, settings, data.dt, poisson=poisson, n_steps=n_steps)
    return Settled(model) if data.static else model


def count_settings(data: Set) -> dict[str, Any]:
    """Return the settings of a fit of counts: log rate = offset + h, linear network."""
    kept = {k: v for k, v in data.settings.items() if k not in ("gain", "nonlinearity")}
    return kept | {"observed": "current", "noise": "poisson", "link": "exp"}


def methods(data: Set) -> list[Method]:
    """Return the methods that a set admits, ours first; those by backpropagation are apart."""
    n = data.activity.shape[2]
    dims = [d for d in DIMS if d < n] + ([n] if n <= max(DIMS) * 2 else [])

    def ours(rank: int) -> Any:
        model = Ours(rank, data.settings, data.dt)
        return Settled(model) if data.static else model

    # of a static set the rank cannot be told, and one is tried
    ranks = RANKS[:1] if data.static else RANKS
    out = [Method("low-rank network", {f"rank {r}": (lambda r=r: ours(r)) for r in ranks})]
    filters = {
        f"{d} components, {q} past inputs": (lambda d=d, q=q: PCARegression(d, 0, q))
        for d in dims
        for q in data.lags
    }
    out.append(Method("PCA + input filter", filters))
    if data.static:
        factors = {f"{d} factors": (lambda d=d: StaticFactors(d)) for d in LDS_DIMS}
        return [*out, Method("FA + regression", factors)]
    out.append(
        Method(
            "PCA + autoregression",
            {
                f"{d} components, order {p}, {q} past inputs": (
                    lambda d=d, p=p, q=q: PCARegression(d, p, q)
                )
                for d in dims
                for p in (1, 2)
                for q in data.lags[:3]
            },
            past=True,
        )
    )
    out.append(
        Method(
            "FA + LDS (EM)",
            {
                f"{d} states, {q} past inputs": (lambda d=d, q=q: FactorLDS(d, q))
                for d in LDS_DIMS
                if d < n
                for q in (data.lags[0], data.lags[2])
            },
            past=True,
        )
    )
    out.append(
        Method(
            "low-rank network + AR of residuals",
            {
                f"rank {r}, {d} components": (lambda r=r, d=d: ResidualRegression(ours(r), d))
                for r in RANKS
                for d in (2, dims[-1])
            },
            past=True,
        )
    )
    tau = data.settings["tau"]
    taus = (data.dt * 3,) if tau == "fit" else (tau,)
    out.append(
        Method(
            "stochastic low-rank network",
            {
                f"rank {r}, tau {1000 * t:.0f} ms, {q} past inputs": (
                    lambda r=r, t=t, q=q: Stochastic(r, data.dt, t, q)
                )
                for r in (1, 2, 4)
                for t in taus
                for q in (data.lags[0], data.lags[2])
                if tau == "fit" or q == 0
            },
            past=True,
        )
    )
    if data.counts:
        settings = count_settings(data)
        poisson = {f"rank {r}": (lambda r=r: Ours(r, settings, data.dt)) for r in RANKS[:2]}
        out.append(Method("low-rank network, Poisson", poisson, "bits"))
        past = {f"{q} past inputs": (lambda q=q: PoissonFilter(q)) for q in data.lags}
        out.append(Method("Poisson regression", past, "bits"))
    return out
