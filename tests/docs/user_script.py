"""What a user writes; `mypy --strict` passes over it, and a test runs it."""

import numpy as np

import predictlearn as pl


def course(start: pl.Overlaps, rate: float) -> pl.Trajectory:
    """Learn the filter for a while."""
    task = pl.Filter(decay=0.2, duration=5.0)
    return pl.learn(start, task, pl.GradientDescent(rate), epochs=20)


def fitted(recording: pl.Recording) -> pl.LowRankRNN:
    """Fit a network of rank one."""
    model = pl.LowRankRNN(rank=1, dt=recording.dt, tau=1.0, n_bootstrap=20)
    return model.fit(recording.activity, recording.inputs)


start = pl.Overlaps(np.eye(4)).replace(zm=0.3, vm=0.4)
trajectory = course(start, 5e-3)
last: float = float(trajectory.losses[-1])
names: tuple[str, ...] = trajectory.final.names
