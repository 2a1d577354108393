"""`StochasticLowRankRNN`: networks with process noise, by Kalman filter and smoother."""

from __future__ import annotations

from predictlearn.deprecated import moved_names

__getattr__ = moved_names(
    __name__,
    dict.fromkeys(
        ("Smoothed", "StochasticLowRankRNN"), "predictlearn.fitting.state_space.estimator"
    ),
)
