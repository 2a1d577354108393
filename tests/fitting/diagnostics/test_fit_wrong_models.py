"""Recordings of networks that the fitted model is not: `diagnose` says so, and in words.

Simulated in plain numpy, apart from the package.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import special, stats

import predictlearn as pl
from predictlearn.errors import ConvergenceWarning, UndeterminedWarning
from predictlearn.fitting.diagnostics.lack_of_fit import (
    open_test,
    products,
    score_tests,
)
from predictlearn.fitting.diagnostics.residuals import Residuals, tail_p
from predictlearn.fitting.diagnostics.slopes import Slopes
from predictlearn.reporting.figures import fit_diagnostics

# the fit itself warns of some of these, before they are diagnosed
pytestmark = pytest.mark.filterwarnings("ignore::predictlearn.errors.MisfitWarning")

DT, TAU, VM, VU, MU = 0.1, 1.0, 0.8, 0.6, 0.3
PHI = {
    "linear": lambda h: h,
    "tanh": np.tanh,
    "relu": lambda h: np.maximum(h, 0),
    "erf": lambda h: special.erf(np.sqrt(np.pi) / 2 * h),
}


def network(
    seed, trials=40, time=40, neurons=50, phi="linear", loadings="Gaussian", shift=0, g=0.0
):
    """Return activity without noise, inputs and loadings of a rank-one network.

    ``g`` adds random connectivity; ``shift`` delays the inputs by bins.
    """
    rng = np.random.default_rng(seed)
    x = np.zeros((trials, time, 1))
    state = rng.normal(size=(trials, 1))
    for t in range(time):
        state = np.exp(-DT / 0.6) * state + np.sqrt(1 - np.exp(-2 * DT / 0.6)) * rng.normal(
            size=state.shape
        )
        x[:, t] = state
    n = max(neurons, 300) if g else neurons
    m, u = rng.normal(size=(2, n))
    u = MU * m + np.sqrt(1 - MU**2) * u
    if loadings == "sparse":
        keep = rng.random(n) < 0.2
        m, u = m * keep / np.sqrt(0.2), u * keep / np.sqrt(0.2)
    elif loadings == "clustered":
        centres = np.array([[1.4, 0], [0, 1.4], [-1.4, 0], [0, -1.4]])[rng.integers(4, size=n)]
        m, u = 0.25 * m + centres[:, 0], 0.25 * u + centres[:, 1]
    elif loadings == "two populations":
        first = rng.random(n) < 0.3
        m, u = m * np.where(first, 1.7, 0.4), u * np.where(first, 0.3, 1.25)
    b = np.stack([m, u], axis=1)
    v = b @ np.linalg.solve(b.T @ b / n, [VM, VU])
    j = g * rng.normal(size=(n, n)) / np.sqrt(n)
    h, y = np.zeros((trials, n)), np.zeros((trials, time, n))
    drive = np.zeros_like(x)
    drive[:, max(shift, 0) :] = x[:, : time - shift] if shift > 0 else x
    for t in range(time):
        r = PHI[phi](h)
        back = (r @ v / n)[:, None] * u
        h = h + DT / TAU * (-h + back + (r @ j.T if g else 0.0) + drive[:, t] * m)
        y[:, t] = PHI[phi](h)
    return y[:, :, :neurons], x, b[:neurons]


def noisy(y, seed, size=1.0):
    """Add noise of the size of the signal, and of every neuron's own variance."""
    rng = np.random.default_rng(seed + 500)
    sd = size * y.std() * np.exp(0.3 * rng.normal(size=y.shape[2]))
    return y + sd * rng.normal(size=y.shape)


def found(y, x, draws=99, **settings):
    """Fit and diagnose."""
    settings = {"dt": DT, "tau": TAU, "offset": True, "n_bootstrap": 0, "n_starts": 3} | settings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit = pl.LowRankRNN(1, **settings).fit(y, x)
    return pl.diagnose(fit, y, x, draws=draws)


def failing(result):
    """Return the names of the tests and checks that fail, after correction."""
    tests, checks = result.tests, result.checks
    return set(tests.index[tests["p_holm"] < 0.05]) | set(checks.index[checks["fails"]])


def test_nothing_is_said_of_the_right_model():
    said = []
    for seed in range(4):
        y, x, _ = network(seed)
        result = found(noisy(y, seed), x)
        said.append(len(result.statements()))
        assert not result.checks["fails"].any()
    # at most one of four by chance: 5% each
    assert np.sum(np.array(said) > 0) <= 1


@pytest.mark.parametrize(("tau", "word"), [(2.0, "too long"), (0.5, "too short")])
def test_a_wrong_tau_is_noticed_and_which_way(tau, word):
    # one input: noticed, but tau 2.5 (with another vu) would be as right as the true one
    y, x, _ = network(0, trials=80)
    result = found(noisy(y, 0), x, tau=tau)
    assert result.tests.loc["time constant", "p_holm"] < 0.01
    assert any("tau given is wrong" in s for s in result.statements())
    # two inputs tell which way
    _, x2, _ = network(1)
    first, x1, _ = network(0)
    rng = np.random.default_rng(2)
    m = rng.normal(size=50)
    k, drive = np.zeros((2, 40)), np.zeros((40, 40, 50))
    for t in range(40):
        k = (1 - DT / TAU) * k + DT / TAU * np.stack([x2[:, t, 0], np.zeros(40)])
        drive[:, t] = k[0][:, None] * m
    both = np.concatenate([x1, x2], axis=2)
    result = found(noisy(first + drive, 0), both, tau=tau)
    row = result.tests.loc["time constant"]
    assert row["p_holm"] < 0.01
    assert f"tau given is {word}" in row["says"]
    assert (row["effect"] > 0) == (tau < TAU)


def test_shifted_inputs_are_noticed_and_which_way():
    for seed, shift in ((0, 1), (1, 2)):
        y, x, _ = network(seed, shift=shift)
        row = found(noisy(y, seed), x).tests.loc["latency"]
        assert row["p_holm"] < 0.01
        assert row["effect"] > 0
        assert "later than the latency given" in row["says"]
    y, x, _ = network(0)
    late = np.roll(x, 1, axis=1)  # inputs written down a bin too late
    row = found(noisy(y[:, 1:], 0), late[:, 1:]).tests.loc["latency"]
    assert row["p_holm"] < 0.01
    assert row["effect"] < 0


@pytest.mark.parametrize("phi", ["tanh", "relu", "erf"])
def test_saturation_taken_for_linear_is_noticed(phi):
    y, x, _ = network(0, phi=phi)
    result = found(noisy(y, 0), x)
    assert result.tests.loc["nonlinearity", "p_holm"] < 0.01
    assert "too small" in result.tests.loc["nonlinearity", "says"]
    if phi == "erf":
        right = found(noisy(y, 0), x, nonlinearity="erf")
        assert right.tests.loc["nonlinearity", "p_holm"] > 0.05


@pytest.mark.parametrize(("g", "phi"), [(0.8, "linear"), (1.5, "tanh")])
def test_further_recurrent_dimensions_are_noticed(g, phi):
    y, x, _ = network(0, g=g, phi=phi)
    assert failing(found(noisy(y, 0), x)) & {"response to inputs", "time constant", "nonlinearity"}


@pytest.mark.parametrize("loadings", ["sparse", "clustered", "two populations"])
def test_loadings_that_are_not_gaussian_are_noticed(loadings):
    y, x, _ = network(1, neurons=80, loadings=loadings)
    assert "Gaussian loadings" in failing(found(noisy(y, 1), x))


def test_drift_and_shared_noise_are_noticed():
    y, x, _ = network(2)
    rng = np.random.default_rng(0)
    trend = np.linspace(-1, 1, len(y))[:, None]
    gain = 1 + 0.3 * trend[:, :, None]
    assert "drift over trials" in failing(found(noisy(y * gain, 2), x))
    own = 1 + 0.4 * trend[:, :, None] * rng.normal(size=y.shape[2])
    assert "drift over trials" in failing(found(noisy(y * own, 2), x))
    rates = y + 0.3 * y.std() * trend[:, :, None] * rng.normal(size=y.shape[2])
    assert "drift over trials" in failing(found(noisy(rates, 2), x))
    # trials sorted by condition are no drift
    kinds = np.repeat(x[:5], 8, axis=0)
    sorted_y = np.repeat(np.tanh(2 * y[:5]), 8, axis=0)
    assert "drift over trials" not in failing(found(noisy(sorted_y, 2), kinds))
    shared = rng.normal(size=(*y.shape[:2], 1)) * rng.normal(size=y.shape[2])
    assert "shared directions" in failing(found(noisy(y, 2) + 0.3 * y.std() * shared, x))


def test_units_stored_twice_and_few_spikes_are_named():
    y, x, _ = network(3)
    twice = noisy(y, 3)
    twice[:, :, 7] = twice[:, :, 4]
    twice[:, :, 9] = twice[:, :, 8] + 0.3 * twice[:, :, 0].std() * np.random.default_rng(1).normal(
        size=y.shape[:2]
    )
    row = found(twice, x).checks.loc["units stored twice"]
    assert row["fails"]
    assert "unit 7 is unit 4" in row["says"]
    assert "units 8 and 9 share their noise" in row["says"]
    assert "too narrow" in row["says"]
    rng = np.random.default_rng(0)
    counts = {
        rate: rng.poisson(rate * np.exp(0.5 * y / y.std())).astype(float) for rate in (0.01, 1.0)
    }
    settings = {"noise": "poisson", "observed": "current"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hardly any spikes: of that the fit warns itself
        low = found(counts[0.01], x, **settings)
    assert {"few spikes", "error of the loadings"} <= failing(low)
    assert any("mm" in s for s in low.statements())
    assert not found(counts[1.0], x, **settings).checks["fails"].any()


def test_few_neurons_that_carry_a_moment_are_named():
    y, x, _ = network(4)
    y[:, :, 5] *= 30
    row = found(noisy(y / y.std(axis=(0, 1)) * np.where(np.arange(50) == 5, 30, 1), 4), x).checks
    assert row.loc["few neurons carry it", "fails"]
    assert "(5," in row.loc["few neurons carry it", "says"]


def test_the_other_tau_does_exactly_as_well():
    y, x, _ = network(5)
    y = noisy(y, 5)
    fit = pl.LowRankRNN(1, dt=DT, tau=TAU, offset=True, n_bootstrap=0, n_starts=4).fit(y, x)
    result = pl.diagnose(fit, y, x, draws=19)
    row = result.checks.loc["tau cannot be checked"]
    assert result.statements() == []
    assert "a second, independent input would decide" in result.statements(limits=True)[0]
    other = pl.LowRankRNN(1, dt=DT, tau=row["value"], offset=True, n_bootstrap=0, n_starts=8)
    other.fit(y, x)
    # the same exponentials, of which another one may now move
    assert -0.01 < other.log_likelihood_ - fit.log_likelihood_ < 4
    vu = 1 - 1 / (1 - fit.overlaps_["vu"])
    assert abs(other.overlaps_["vu"] - vu) < 0.3
    assert f"(vu {vu:.2f})" in row["says"]
    assert row["value"] > 1.5 * TAU
    two = np.concatenate([x, np.roll(x, 3, axis=0)], axis=2)
    fit = pl.LowRankRNN(1, dt=DT, tau=TAU, offset=True, n_bootstrap=0, n_starts=2).fit(y, two)
    assert "tau cannot be checked" not in pl.diagnose(fit, y, two, draws=19).checks.index


def test_p_values_can_stand_their_correction():
    y, x, _ = network(0, phi="tanh")
    result = found(noisy(y, 0), x, draws=19)
    # 19 draws bound a share of draws at 0.05; the tail goes on
    assert result.tests.loc["nonlinearity", "p"] < 0.05 / len(result.tests) / 2
    rng = np.random.default_rng(0)
    p = np.array(
        [
            tail_p(float(seen), rng.chisquare(6, size=199) ** 0.7)
            for seen in rng.chisquare(6, size=4000) ** 0.7
        ]
    )
    for level in (0.05, 0.01, 0.004):
        most = stats.binom.ppf(0.999, 4000, level)
        assert stats.binom.ppf(0.001, 4000, level) * 0.6 <= np.sum(p <= level) <= most * 1.3


def test_trials_with_leverage_do_not_upset_the_tests_of_the_mean():
    # white noise about known regressors, few trials, of which some drive far more than others
    rng = np.random.default_rng(0)
    trials, time, neurons = 20, 15, 25
    size = np.exp(0.7 * rng.normal(size=(trials, 1, 1)))
    k = rng.normal(size=(trials, time, 2)).cumsum(axis=1) * size
    base = np.concatenate([np.ones((trials, time, 1)), k], axis=2).reshape(-1, 3)
    q = np.linalg.qr(base)[0]
    ones = np.ones((trials, time, neurons))
    signs = np.concatenate([np.ones((1, trials)), rng.choice([-1.0, 1.0], (199, trials))])
    ratio, p, t = [], [], []
    for _ in range(60):
        noise = rng.normal(size=(trials * time, neurons))
        values = (noise - q @ (q.T @ noise)).reshape(ones.shape)
        residuals = Residuals(
            values, ones > 0, base.reshape(trials, time, 3), lambda some: (ones, ones)
        )
        loadings = rng.normal(size=(neurons, 2))
        slopes = Slopes(
            residuals,
            k,
            np.zeros((0, *k.shape)),
            loadings,
            lambda some: (ones[None, :, :, some], ones[:, :, some]),
        )
        table = open_test(slopes, products(k), signs)
        ratio.append(table[0, 0] / table[1:, 0].mean())
        p.append(tail_p(table[0, 0], table[1:, 0]))
        t.append(score_tests(slopes, [lambda part: (part.k @ part.loadings.T) ** 3])[0].t)
    # without the correction the mean of the ratio is 1.10 and the size of p 28%
    assert abs(np.mean(ratio) - 1) < 4 * np.std(ratio) / np.sqrt(60)
    assert np.sum(np.array(p) < 0.05) <= stats.binom.ppf(0.999, 60, 0.05)
    assert np.sum(np.abs(t) > stats.t.ppf(0.975, 19)) <= stats.binom.ppf(0.999, 60, 0.05)


def test_few_neurons_and_short_trials_are_diagnosed_too():
    y, x, _ = network(6, neurons=5)
    y = noisy(y, 6)
    result = found(y, x, draws=19)
    assert "Gaussian loadings" not in result.tests.index
    assert result.loadings.error_share.between(0, 1).all()
    assert len(fit_diagnostics(result).axes) == 6
    # four bins do not show that five neurons read the latent
    with pytest.warns(UndeterminedWarning, match="no more than noise"):
        short = found(y[:, :4], x[:, :4], draws=19)
    assert short.settings["lags"] == 3
