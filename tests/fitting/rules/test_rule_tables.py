"""From `LearningFit` to a fit of another hypothesis: the same tables by the same names."""

from __future__ import annotations

import numpy as np
import pytest

import predictlearn as pl

TASK, RATE = pl.Filter(duration=3.0, dt=0.1), 0.02
TRUE = pl.Overlaps(np.eye(4)).replace(zm=0.2, zu=0.3, vm=0.4, vu=0.3, mu=0.1)


def recorded(learns, noise):
    recordings, _ = pl.simulate_learning(
        TRUE, TASK, 6, pl.GradientDescent(RATE), n_sessions=16, n_neurons=300, recorded=300,
        noise=noise, output_noise=noise / 10, n_bins=40, learns=learns, seed=3,
    )  # fmt: skip
    return pl.measured_rule_columns(recordings)


def test_a_fit_of_synapses_is_read_like_a_learning_fit():
    table, errors = recorded("synapses", 0.3)
    guess = pl.Hypothesis(pl.GradientDescent(0.01), "synapses")
    fit = pl.fit_rule(table, TASK, 6, guess, errors, n_starts=2)
    plain = pl.LearningFit(n_starts=1).fit(
        pl.simulate_sessions(TRUE, TASK, 6, pl.GradientDescent(RATE), noise=1e-3, n_sessions=8),
        TASK, 6, pl.GradientDescent(RATE),
    )  # fmt: skip
    for name in ("start_", "intervals_", "identifiable_", "rate_", "log_likelihood_",
                 "trajectory_", "residuals_", "converged_"):  # fmt: skip
        assert type(getattr(fit, name)) is type(getattr(plain, name)), name
    assert list(fit.intervals_.columns) == list(plain.intervals_.columns)
    assert list(fit.identifiable_.index) == list(plain.identifiable_.index)
    assert fit.goodness_of_fit().p_value > 0.01
    # what the function shows of the start, and the rate, within their intervals
    rows = fit.intervals_
    for name, value in (("zm", TRUE["zm"]), ("mm", TRUE["mm"]), ("rate", RATE)):
        middle, sd = rows.loc[name, "estimate"], rows.loc[name, "sd"]
        assert abs(middle - value) < 4 * sd, name
        assert rows.loc[name, "low"] < middle < rows.loc[name, "high"]
    assert fit.start_["zu"] * fit.start_["vm"] == pytest.approx(0.12, abs=0.02)
    assert fit.rate_ == fit.rule.rate
    known = fit.identifiable_
    assert known["zm"]
    assert rows.loc[known.index[~known], "low"].isna().all()


@pytest.mark.parametrize(
    "rule", [pl.Hypothesis(pl.GradientDescent(0.01), "synapses"), pl.RFLO(0.01), pl.Adam(0.01)]
)
def test_another_hypothesis_is_pointed_to_fit_rule(rule):
    table = pl.simulate_sessions(TRUE, TASK, 6, pl.GradientDescent(RATE), noise=1e-3, n_sessions=8)
    for fit in (pl.LearningFit().fit, pl.LearningFit().fit_recordings):
        with pytest.raises(pl.InputError, match=r"pl\.fit_rule\(.*pl\.Hypothesis\(rule, learns\)"):
            fit(table, TASK, 6, rule)
