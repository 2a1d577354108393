"""Diagnostics of a fit: size and power of the tests, fixed points, loadings, lost units."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import predictlearn as pl
from predictlearn.fitting import (
    LowRankRNN,
    fitted_fixed_points,
    fixed_points,
    loading_shape,
)
from predictlearn.fitting.diagnostics.diagnose import _residuals
from predictlearn.fitting.diagnostics.residuals import (
    Residuals,
    autocorrelation,
    noise_with_level,
    shared_directions,
)
from predictlearn.fitting.session.rollout import reduced_activity
from predictlearn.reporting.figures import fit_diagnostics
from predictlearn.reporting.style import png
from predictlearn.simulation import random_inputs, simulate_recording

pytestmark = pytest.mark.filterwarnings("ignore::predictlearn.errors.MisfitWarning")

RANK1 = pl.Overlaps(np.diag([1.2, 1.5, 1.3, 1.0])).replace(vm=0.7, vu=0.6, mu=0.5, zm=0.3, zu=0.5)
TURNING = pl.Overlaps(np.diag([1, 1, 1, 2, 2, 1.0]), 1, 2, 1).replace(
    v1m=0.7, v1u1=0.7, v1u2=-0.9, v2u1=0.9, v2u2=0.7
)


def recorded(seed, overlaps=RANK1, kinds=None, n_trials=24, n_neurons=40, **settings):
    """Return a simulated recording, its trials of a few kinds of input if asked."""
    x = random_inputs(kinds or n_trials, 25, 1, 0.1, seed=seed)
    if kinds:
        x = np.repeat(x, n_trials // kinds, axis=0)
    return simulate_recording(
        overlaps, x, dt=0.1, n_neurons=n_neurons, r2=0.6, seed=seed, **settings
    )


def fitted(activity, inputs, rank=1, **settings):
    """Return a quick fit."""
    settings = {"dt": 0.1, "tau": 1.0, "n_bootstrap": 0, "n_starts": 2} | settings
    return LowRankRNN(rank, **settings).fit(activity, inputs)


def p_values(seeds, change=None, kinds=4, rank=1, **settings):
    """Return the p-values of all tests, one row a simulation."""
    rows = []
    for seed in seeds:
        r = recorded(seed, kinds=kinds, **settings)
        y = r.activity
        if change is not None:
            y = change(y, r, np.random.default_rng(seed + 1000))
        how = {k: v for k, v in settings.items() if k == "nonlinearity"}
        fit = fitted(y, r.inputs, rank, **how)
        rows.append(pl.diagnose(fit, y, r.inputs, draws=99, seed=seed).tests["p"])
    return pd.DataFrame(rows).reset_index(drop=True)


@pytest.mark.quick
def test_nothing_is_found_where_nothing_is_wrong():
    found = p_values(range(8))
    # 99.9% limit of a count of p <= 0.05 among 8
    assert (found <= 0.05).sum().max() <= stats.binom.ppf(0.999, 8, 0.05) + 1
    assert found.mean().between(0.2, 0.95).all()


@pytest.mark.slow
@pytest.mark.parametrize("nonlinearity", ["linear", "erf"])
def test_size_over_200_simulations(nonlinearity):
    found = p_values(range(200), nonlinearity=nonlinearity)
    size = (found <= 0.05).mean()
    print(nonlinearity, size.to_dict(), found.mean().to_dict())  # noqa: T201
    # 5% and its 99.9% upper limit over 200; tests of a maximum over neurons may be careful
    assert size.max() <= stats.binom.ppf(0.999, 200, 0.05) / 200
    assert size[["autocorrelation", "noise with level"]].min() >= 0.01


def autocorrelations(seeds, overlaps=RANK1, **settings):
    """Return t and p of the autocorrelation alone, one row a simulation."""
    nonlinearity = settings.pop("nonlinearity", "linear")
    n_trials, n_bins, n_neurons = settings["shape"]
    rows = []
    for seed in seeds:
        x = np.repeat(random_inputs(5, n_bins, 1, 0.1, seed=seed), n_trials // 5, axis=0)
        r = simulate_recording(
            overlaps,
            x,
            dt=0.1,
            n_neurons=n_neurons,
            r2=0.6,
            seed=seed + 5000,
            nonlinearity=nonlinearity,
        )
        fit = fitted(r.activity, x, nonlinearity=nonlinearity)
        residuals = _residuals(
            fit, r.activity, x, reduced_activity(fit, x), np.ones(n_neurons, dtype=bool)
        )
        found = autocorrelation(residuals, 2)[0]
        rows.append((found.statistic, found.p))
    return np.array(rows).T


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::predictlearn.errors.ConvergenceWarning")  # one erf fit
@pytest.mark.parametrize("nonlinearity", ["linear", "erf"])
@pytest.mark.parametrize(("shape", "n"), [((30, 40, 20), 400), ((100, 50, 60), 200)])
def test_size_of_the_autocorrelation(shape, n, nonlinearity):
    t, p = autocorrelations(range(1000, 1000 + n), shape=shape, nonlinearity=nonlinearity)
    print(shape, nonlinearity, np.mean(p <= 0.05), t.mean(), t.std())  # noqa: T201
    assert 0.02 <= np.mean(p <= 0.05) <= 0.08
    assert abs(t.mean()) < 4 * 1.05 / np.sqrt(n)


def test_autocorrelation_allows_for_what_the_regression_took():
    # many neurons and few bins: without the correction t is about -1.9 on white noise
    rng = np.random.default_rng(0)
    base = np.concatenate([np.ones((24, 25, 1)), rng.normal(size=(24, 25, 2)).cumsum(axis=1)], 2)
    q = np.linalg.qr(base.reshape(600, 3))[0]
    seen = np.ones((24, 25, 200), dtype=bool)
    t = []
    for _ in range(12):
        noise = rng.normal(size=(600, 200))
        values = (noise - q @ (q.T @ noise)).reshape(24, 25, 200)
        t.append(
            autocorrelation(Residuals(values, seen, base, expected(values, values)), 1)[0].statistic
        )
    assert abs(np.mean(t)) < 4 * 1.05 / np.sqrt(12)


def expected(mean, variance):
    """Return what tells the mean and the variance of some neurons."""
    return lambda some: (mean[:, :, some], variance[:, :, some])


def counted(y, mean):
    """Return Pearson residuals of counts about known means, with an offset."""
    mean = np.broadcast_to(np.maximum(mean, 1e-9), y.shape)
    values = (y - mean) / np.sqrt(mean)
    base = np.ones((*y.shape[:2], 1))
    return Residuals(values, np.ones(y.shape, dtype=bool), base, expected(mean, mean))


@pytest.mark.parametrize("rate", [0.02, 0.05, 0.1, 0.5])
def test_few_spikes_are_no_correlation_in_time(rate):
    # studentised by their own squares, they were found in every simulation at 0.02 and 0.05
    rng = np.random.default_rng(0)
    found, pooled = [], []
    for _ in range(12):
        y = rng.poisson(rate, size=(60, 50, 40)).astype(float)
        test, table, _ = autocorrelation(counted(y, y.mean(axis=(0, 1))), 5)
        found.append(table["p_holm"].min() < 0.05)
        pooled.append(test.p < 0.05)
    most = stats.binom.ppf(0.999, 12, 0.05)
    assert np.sum(found) <= most
    assert np.sum(pooled) <= most
    expected = min(60 * 49 * rate**2, 60 * 49)
    assert table["coincidences"].median() == pytest.approx(expected, rel=0.5)


def test_bursts_and_refractory_spikes_are_found():
    rng = np.random.default_rng(1)
    y = rng.poisson(0.02, size=(60, 50, 40)).astype(float)
    late = y[:, :, :10]
    late[:, 1:] += (late[:, :-1] > 0) & (rng.random(late[:, 1:].shape) < 0.6)
    p = autocorrelation(counted(y, y.mean(axis=(0, 1))), 5)[1]["p_holm"]
    assert (p[:10] < 0.05).mean() > 0.8
    assert (p[10:] > 0.05).all()
    # a lack of coincidences shows where they are expected: 0.2^2 x 2940 = 118
    y = (rng.random((60, 50, 40)) < 0.2).astype(float)
    y[:, 1:, :10] *= y[:, :-1, :10] == 0
    p = autocorrelation(counted(y, y.mean(axis=(0, 1))), 5)[1]["p_holm"]
    assert (p[:10] < 0.05).mean() > 0.8
    assert (p[10:] > 0.05).mean() > 0.9


@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_shrunk_levels_of_few_spikes_are_no_wrong_variance(rate):
    # residuals of shrunk fits follow the level, and skewed ones take their squares with them
    rng = np.random.default_rng(0)
    t = []
    for _ in range(12):
        x = np.repeat(rng.normal(size=(10, 30)).cumsum(axis=1), 4, axis=0)[:, :, None]
        x = (x - x.mean()) / x.std()
        y = rng.poisson(rate, size=(40, 30, 40)).astype(float)
        slope = np.sum(x * (y - rate), axis=(0, 1)) / (rate * x.size)
        mean = rate * np.exp(0.2 * slope * x)
        t.append(noise_with_level(counted(y, mean * y.mean(axis=(0, 1)) / mean.mean(axis=(0, 1)))))
    t = [test.statistic for test, _ in t]
    assert abs(np.mean(t)) < 4 * 1.05 / np.sqrt(12)
    # noise of one variance, taken for noise that grows with the level, is found
    level = 0.3 * np.exp(0.5 * x)
    y = level + np.sqrt(0.3) * rng.normal(size=(40, 30, 40))
    assert noise_with_level(counted(y, level))[0].p < 0.001


@pytest.mark.filterwarnings("ignore::predictlearn.errors.UndeterminedWarning")  # no signal
def test_rare_spikes_are_said_to_show_bursts_only():
    rng = np.random.default_rng(0)
    x = np.repeat(random_inputs(6, 20, 1, 0.1, seed=0), 5, axis=0)
    y = rng.poisson(np.where(np.arange(20) < 8, 0.03, 1.0), size=(30, 20, 20)).astype(float)
    fit = fitted(y, x, noise="poisson", observed="current", n_starts=1)
    found = pl.diagnose(fit, y, x, draws=19)
    row = found.tests.loc["single neurons"]
    assert "(8 of 20 spike too rarely to show anything but bursts)" in row["measure"]
    assert row["p"] > 0.05
    assert (found.neurons["coincidences"] < 10).sum() == 8


def test_many_neurons_get_the_leading_eigenvalues_only():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(20, 15, 240)) + 0.3 * rng.normal(size=(20, 15, 1))
    residuals = counted(values, 1.0)
    residuals = Residuals(values, residuals.seen, residuals.base, expected(values, values))
    found, table, _ = shared_directions(residuals, 19, np.random.default_rng(1))
    again = shared_directions(residuals, 19, np.random.default_rng(1))[1]
    assert table.equals(again)
    assert found.p < 1e-6
    # all eigenvalues, in double precision, of the same shuffles
    draw, null = np.random.default_rng(1), []
    for _ in range(19):
        order = draw.permuted(np.tile(np.arange(20), (240, 1)), axis=1)
        own = np.stack([values[order[i], :, i].ravel() for i in range(240)])
        own = own / np.linalg.norm(own, axis=1, keepdims=True)
        null.append(np.linalg.eigvalsh(own @ own.T)[::-1][:10])
    assert np.allclose(table["null_median"][:10], np.median(null, axis=0), rtol=1e-4)
    assert table["null_median"][10:].isna().all()
    whole = values.reshape(300, 240) / np.linalg.norm(values.reshape(300, 240), axis=0)
    assert np.allclose(table["eigenvalue"], np.linalg.eigvalsh(whole.T @ whole)[::-1], atol=1e-4)


def slow_noise(y, r, rng):
    """Replace white residuals by ones that follow an autoregression of 0.4."""
    noise = np.zeros_like(y)
    step = 0.3 * np.std(y) * rng.normal(size=y.shape)
    for t in range(y.shape[1]):
        noise[:, t] = step[:, t] + (0.4 * noise[:, t - 1] if t else 0.0)
    return y + noise


def test_slow_noise_is_found_and_not_taken_for_shared():
    found = p_values(range(3), slow_noise)
    assert (found["autocorrelation"] < 0.001).all()
    assert (found["shared directions"] > 0.01).all()


def test_a_missing_input_is_found():
    def locked(y, r, rng):
        cue = np.exp(-np.arange(y.shape[1]) / 5.0)
        return y + 0.4 * np.std(y) * cue[:, None] * rng.normal(size=y.shape[2])

    def unlocked(y, r, rng):
        drive = random_inputs(len(y), y.shape[1], 1, 0.1, seed=int(rng.integers(1000)))
        return y + 0.4 * np.std(y) * drive * rng.normal(size=y.shape[2])

    found = p_values(range(3), locked)
    assert (found["means by bin"] <= 0.01).all()
    found = p_values(range(3), unlocked)
    assert (found["shared directions"] <= 0.01).all()
    assert (found["autocorrelation"] < 0.001).all()


def test_too_low_a_rank_is_found():
    low = p_values(range(3), overlaps=TURNING, rank=1)
    right = p_values(range(3), overlaps=TURNING, rank=2)
    assert (low["means by condition"] <= 0.05).all()
    assert (right["means by condition"] > 0.01).all()


def test_noise_that_follows_the_level_is_found():
    x = random_inputs(48, 25, 1, 0.1, seed=0)
    r = simulate_recording(RANK1, x, dt=0.1, n_neurons=40, r2=1.0, seed=0)
    # rates that the linear model can follow, so that only the noise is wrong
    y = np.random.default_rng(0).poisson(np.maximum(2 + r.activity, 0.1)).astype(float)
    fit = fitted(y, r.inputs, offset=True)
    found = pl.diagnose(fit, y, r.inputs, draws=99)
    row = found.tests.loc["noise with level"]
    assert row["p"] < 1e-4
    assert row["effect"] > 0.05
    assert "poisson" in row["says"]


def test_residuals_of_counts_are_pearson_residuals():
    if "noise" not in LowRankRNN().get_params():
        pytest.fail("LowRankRNN has no models of counts")
    r = recorded(0, n_trials=40)
    signal = simulate_recording(RANK1, r.inputs, dt=0.1, n_neurons=40, r2=1.0, seed=0).activity
    rng = np.random.default_rng(0)
    y = rng.poisson(np.exp(0.3 + 0.8 * signal)).astype(float)
    fit = fitted(y, r.inputs, noise="poisson", link="exp")
    found = pl.diagnose(fit, y, r.inputs, draws=99)
    assert found.tests["p"].drop("Gaussian loadings").min() > 0.003
    assert found.explained["u1"] > 0.5


def test_missing_bins_and_outputs_and_unequal_trials():
    r = recorded(3)
    y = r.activity.copy()
    y[np.random.default_rng(0).random(y.shape) < 0.1] = np.nan
    y[5, 15:] = np.nan
    fit = LowRankRNN(dt=0.1, n_bootstrap=0, n_starts=2).fit(y, r.inputs, outputs=r.outputs)
    found = pl.diagnose(fit, y, r.inputs, r.outputs, draws=99)
    assert found.outputs["y1"] > 0.99
    assert found.tests["p"].min() > 0.003
    x = [trial[: 15 if i == 5 else 25] for i, trial in enumerate(r.inputs)]
    lists = pl.diagnose(fit, [trial[: len(d)] for trial, d in zip(y, x, strict=True)], x, draws=99)
    assert (
        lists.tests["p"]
        .drop("Gaussian loadings")
        .round(6)
        .equals(found.tests["p"].drop("Gaussian loadings").round(6))
    )


def test_projection_of_a_noise_free_recording_is_the_prediction():
    for nonlinearity in ("linear", "erf"):
        x = random_inputs(20, 25, 1, 0.1, seed=1)
        r = simulate_recording(
            RANK1, x, dt=0.1, n_neurons=60, r2=0.999, seed=1, nonlinearity=nonlinearity
        )
        fit = fitted(r.activity, x, nonlinearity=nonlinearity)
        found = pl.diagnose(fit, r.activity, x, draws=19)
        assert found.explained["u1"] > 0.98
        # bands that hold 95% where the prediction is the truth
        part = found.trajectories
        inside = (part["low"] <= part["predicted"]) & (part["predicted"] <= part["high"])
        assert 0.9 < inside.mean() < 0.99


def test_shape_of_loadings_has_its_size_and_power():
    rng = np.random.default_rng(0)
    n, share = 150, np.exp(np.random.default_rng(1).normal(size=150))
    errors = (0.4 * share / share.mean())[:, None, None] * np.eye(2)

    def draws(kind):
        true = kind(size=(n, 2))
        return true + np.sqrt(errors[:, 0, 0])[:, None] * rng.normal(size=(n, 2))

    null = [loading_shape(draws(rng.normal), errors, draws=59, seed=s).tests for s in range(30)]
    first = np.array([t["p_family"].min() for t in null])
    assert (first <= 0.05).sum() <= stats.binom.ppf(0.999, 30, 0.05)
    # without the errors the mixture of good and bad neurons looks heavy-tailed
    blind = [loading_shape(draws(rng.normal), draws=59, seed=s).tests for s in range(10)]
    assert np.mean([t["p_family"].min() <= 0.05 for t in blind]) >= 0.3

    def heavy(size):
        return rng.standard_t(3, size=size) / np.sqrt(3)

    def skewed(size):
        return rng.exponential(size=size) - 1

    for kind, test in ((heavy, "joint kurtosis"), (skewed, "joint skewness")):
        found = [loading_shape(draws(kind), errors, draws=59).tests for _ in range(5)]
        assert np.mean([t.loc[test, "p_family"] <= 0.05 for t in found]) >= 0.8
    # the effect is that of the loadings, whatever the errors
    many = np.random.default_rng(2)
    true = many.exponential(size=(40000, 1)) - 1
    wide = np.tile(errors, (267, 1, 1))[:40000, :1, :1]
    seen = true + np.sqrt(wide[:, 0]) * many.normal(size=(40000, 1))
    effect = loading_shape(seen[:2000], wide[:2000], draws=19).tests["effect"]
    assert effect["skewness column 1"] == pytest.approx(2.0, abs=0.6)


def test_shape_of_loadings_refuses():
    with pytest.raises(pl.InputError, match="at least 8 neurons"):
        loading_shape(np.ones((5, 2)))
    with pytest.raises(pl.InputError, match="names must name the 2 columns"):
        loading_shape(np.random.default_rng(0).normal(size=(20, 2)), names=("m",))


def long_run(vm, vu, bb, x, k_u, tau=1.0, dt=0.01, bins=20000):
    """Return where the reduced dynamics go."""
    for _ in range(bins):
        k = np.concatenate([x, k_u])
        g = 1 / np.sqrt(1 + np.pi / 2 * k @ bb @ k)
        k_u = k_u + dt / tau * (-k_u + g * (vm @ x + vu @ k_u))
    return k_u


@pytest.mark.parametrize("drive", [0.0, 0.15])
def test_long_runs_end_in_the_stable_fixed_points(drive):
    rng = np.random.default_rng(0)
    vm, vu = np.array([[0.8], [0.3]]), np.array([[2.5, 0.2], [0.1, 1.8]])
    bb = np.array([[1.0, 0.2, 0.1], [0.2, 1.0, 0.0], [0.1, 0.0, 1.0]])
    x = np.array([drive])
    points = fixed_points(vm, vu, bb, x, nonlinearity="erf")
    stable = [p.k[1:] for p in points if p.stable]
    ends = [long_run(vm, vu, bb, x, rng.normal(size=2) * 2) for _ in range(4)]
    for end in ends:
        assert min(np.linalg.norm(end - s) for s in stable) < 1e-8
    assert len(stable) == 2
    # Morse: the number of fixed points of index even less odd is one
    odd = [np.sum(p.eigenvalues.real > 0) % 2 for p in points]
    assert sum(1 if o == 0 else -1 for o in odd) == 1
    for p in points:
        k = p.k
        g = 1 / np.sqrt(1 + np.pi / 2 * k @ bb @ k)
        assert np.linalg.norm(-k[1:] + g * (vm @ x + vu @ k[1:])) < 1e-10


def test_no_fixed_point_is_missed():
    from scipy.optimize import root

    rng = np.random.default_rng(3)
    for case in range(25):
        rank = 1 + case % 3
        vm, vu = rng.normal(size=(rank, 1)), 2 * rng.normal(size=(rank, rank))
        a = rng.normal(size=(rank + 1, rank + 3))
        bb, x = a @ a.T / (rank + 3), rng.normal(size=1) * (0.3 if case % 2 else 0.0)

        def field(k_u, vm=vm, vu=vu, bb=bb, x=x):
            k = np.concatenate([x, k_u])
            return -k_u + (vm @ x + vu @ k_u) / np.sqrt(1 + np.pi / 2 * k @ bb @ k)

        points = fixed_points(vm, vu, bb, x, nonlinearity="erf")
        odd = [np.sum(p.eigenvalues.real > 0) % 2 for p in points]
        assert sum(1 if o == 0 else -1 for o in odd) == 1
        for _ in range(30):
            found = root(field, rng.normal(size=rank) * 3, tol=1e-12)
            if found.success and np.linalg.norm(field(found.x)) < 1e-10:
                assert min(np.linalg.norm(found.x - p.k[1:]) for p in points) < 1e-5


def test_linear_fixed_point_and_its_times():
    vu = np.array([[0.5, -1.0], [1.0, 0.5]])
    (point,) = fixed_points([[1.0], [0.0]], vu, np.eye(3), [2.0], tau=0.1, dt=0.01)
    assert np.allclose(point.k[1:], np.linalg.solve(np.eye(2) - vu, [2.0, 0.0]))
    assert np.allclose(point.time_constants, 0.2)
    assert np.allclose(point.frequencies, 10 / (2 * np.pi))
    assert point.stable
    assert point.stable_euler
    fast = fixed_points([[1.0], [0.0]], 20 * vu - 15 * np.eye(2), np.eye(3), [0.0], dt=0.5)[0]
    assert fast.stable
    assert not fast.stable_euler
    assert fixed_points([[1.0]], [[1.0]], np.eye(2), [1.0]) == []


def test_fixed_points_of_a_fit_have_intervals():
    r = recorded(0, n_trials=40, n_neurons=80)
    fit = LowRankRNN(dt=0.1, n_bootstrap=60, n_starts=2).fit(r.activity, r.inputs)
    table = fitted_fixed_points(fit, [[0.0], [1.0]])
    assert table["found"].eq(1.0).all()
    true = 1 / (1 - RANK1["vu"])
    assert table["time_constant_low"].iloc[0] < true < table["time_constant_high"].iloc[0]
    with pytest.raises(pl.InputError, match="inputs must have shape"):
        fitted_fixed_points(fit, [[0.0, 1.0]])


def test_lost_units_are_found_and_others_left():
    rng = np.random.default_rng(0)
    rate = rng.gamma(1.0, 2.0, size=(1, 1, 400))
    # bursty: the rate of every trial is drawn anew
    counts = rng.poisson(rate / 20 * rng.gamma(0.5, 2.0, size=(80, 1, 400)) * np.ones((1, 20, 1)))
    assert not pl.fallen_silent(counts, p=1e-6).any()
    false = pl.fallen_silent(counts, p=0.05).any(axis=(0, 1)).mean()
    assert false <= stats.binom.ppf(0.999, 400, 0.05) / 400
    lost = counts.astype(float)
    lost[50:, :, :100] = 0
    found = pl.fallen_silent(lost)
    busy = (counts[:50].sum(axis=1) > 0).mean(axis=0)[:100] > 0.5
    assert busy.sum() > 20
    assert found[55:, :, :100][:, :, busy].all(axis=(0, 1)).mean() > 0.9
    assert not found[:, :, 100:].any()
    assert not (found & (lost > 0)).any()
    masked = pl.mask_silent(lost)
    assert np.array_equal(np.isnan(masked), found)
    with pytest.raises(pl.InputError, match="not negative"):
        pl.fallen_silent(-np.ones((4, 3, 2)))
    with pytest.raises(pl.InputError, match="p must lie"):
        pl.fallen_silent(np.ones((4, 3, 2)), p=2)


def test_diagnose_refuses_what_does_not_fit():
    r = recorded(0)
    fit = fitted(r.activity, r.inputs)
    with pytest.raises(pl.InputError, match="activity must have shape"):
        pl.diagnose(fit, r.activity[:, :, :-1], r.inputs)
    with pytest.raises(pl.InputError, match="at least 4 trials"):
        pl.diagnose(fit, r.activity[:3], r.inputs[:3])
    with pytest.raises(pl.InputError, match="one label a trial"):
        pl.diagnose(fit, r.activity, r.inputs, conditions=[1, 2])
    with pytest.raises(pl.InputError, match="lags must be below"):
        pl.diagnose(fit, r.activity, r.inputs, lags=25)


def test_figure_of_diagnostics():
    r = recorded(0, overlaps=TURNING, kinds=4)
    fit = fitted(r.activity, r.inputs, 2)
    found = pl.diagnose(fit, r.activity, r.inputs, draws=19)
    figure = fit_diagnostics(found)
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes[:5])
    assert png(figure)[1:4] == b"PNG"
    assert "nothing found" in found.report().lower()
    with pytest.raises(pl.InputError, match="what diagnose returns"):
        fit_diagnostics(found.tests)
