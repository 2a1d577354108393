"""Block 2 of the BCI learning session cut into pieces: overlaps and behaviour of each.

Part of ``bci_learning.py``.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

import predictlearn as pl
from predictlearn.fitting.session.estimator import LowRankRNN
from predictlearn.recordings.datasets.bci_learning import (
    BCISession,
    command_progress,
    load_bci_learning,
    progress,
)
from predictlearn.recordings.datasets.registry import find_dataset
from predictlearn.tasks.reaching import ReachingReadout
from predictlearn.theory.activity import simulate
from predictlearn.theory.overlaps import Overlaps

BINS, FIRST = 12, 6
VISIBLE = ["z1m1", "z1m2", "z1m3", "z2m1", "z2m2", "z2m3", "z1u", "z2u", "vm1", "vm2", "vm3", "vu"]
OTHER = ["m1u", "m2u", "m3u", "m1m1", "m1m2", "m1m3", "m2m2", "m2m3", "m3m3"]
SEEN = VISIBLE + OTHER
READOUT = ["z1z1", "z1z2", "z2z2"]
HIDDEN = ["z1v", "z2v", "vv"]
# what is known of the readout, as a standard deviation that the fit can work with
KNOWN_SD = 1e-3


@dataclass(frozen=True, eq=False)
class Study:
    """The session, what block 1 fixes, and the task of block 2.

    Lengths of velocity are in units of `speed`, block 1's mean progress in mm/s.
    """

    session: BCISession
    first: LowRankRNN
    speed: float
    readout: np.ndarray
    task: ReachingReadout
    trials: np.ndarray
    progress: np.ndarray

    @property
    def targets(self):
        """Direction of every trial of block 2, degrees."""
        return self.session.perturbed.trials["target"].to_numpy()

    @property
    def angles(self):
        """The eight directions, degrees."""
        return self.task.angles


def rank_one(activity, inputs, readout, tau, latency, **settings):
    """Fit a linear network of rank one whose neurons are the factors."""
    # the theory of the task makes one Euler step a bin, and so does this page's fit
    settings = {"observed": "current", "neurons": "all", "bin": "euler", **settings}
    model = LowRankRNN(1, dt=0.045, tau=tau, latency=latency, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pl.ConvergenceWarning)
        return model.fit(activity, inputs, readout=readout)


def prepare():
    """Read the session, fit block 1, and set up the task of the perturbed mapping."""
    session = load_bci_learning(find_dataset("bci-learning")).first_bins(BINS)
    old, new = session.intuitive, session.perturbed
    readout = session.perturbed_readout
    first = rank_one(old.activity, old.inputs, readout.loading(), "fit", "fit", offset=True)
    speed = float(
        np.mean(
            progress(
                old.activity, session.intuitive_readout, old.trials["target"].to_numpy(), FIRST
            )
        )
    )
    task = ReachingReadout(
        targets=np.unique(new.trials["target"]).tolist(),
        duration=BINS * 0.045,
        dt=0.045,
        latency=first.latency_,
        offset=((readout.weights @ first.offset_ + readout.offset) / speed).tolist(),
        smoothing=readout.smoothing.tolist(),
        first_bin=FIRST,
    )
    targets = new.trials["target"].to_numpy()
    return Study(
        session,
        first,
        speed,
        readout.loading() / speed,
        task,
        np.arange(new.n_trials),
        progress(new.activity, readout, targets, FIRST),
    )


@dataclass(frozen=True, eq=False)
class Pieces:
    """Overlaps and behaviour of consecutive pieces of block 2.

    values, sds: one row a piece, columns overlaps; covariances (pieces, SEEN, SEEN); middle: trial
    number of the middle of each. behaviour, behaviour_sds: loss, progress, and progress by target.
    """

    values: pd.DataFrame
    sds: pd.DataFrame
    covariances: np.ndarray
    middle: np.ndarray
    behaviour: pd.DataFrame
    behaviour_sds: pd.DataFrame
    members: list

    def __getitem__(self, which):
        """Return some of the pieces."""
        return replace(
            self,
            values=self.values.iloc[which],
            sds=self.sds.iloc[which],
            covariances=self.covariances[which],
            middle=self.middle[which],
            behaviour=self.behaviour.iloc[which],
            behaviour_sds=self.behaviour_sds.iloc[which],
            members=self.members[which],
        )


def fit_piece(study, chosen, n_starts=8, seed=0):
    """Fit some trials of block 2, with tau, latency and offsets of block 1."""
    recording, first = study.session.perturbed, study.first
    return rank_one(
        recording.activity[chosen] - first.offset_,
        recording.inputs[chosen],
        study.readout,
        first.tau_,
        first.latency_,
        n_bootstrap=0,
        n_starts=n_starts,
        seed=seed,
    )


def refitted(study, chosen, seed):
    """Fit trials drawn with replacement, and return the overlaps.

    A piece has two optima nearly as good (a large vm with a small vu, or the reverse), and the
    linearised bootstrap of the fit stays in one of them; fits anew go to either.
    """
    rng = np.random.default_rng(seed)
    return fit_piece(study, rng.choice(chosen, len(chosen)), n_starts=2).overlaps_[SEEN].to_numpy()


def shuffled_order(study, n_trials, seed):
    """Return the first trials of block 2, shuffled within targets: no learning is left."""
    rng = np.random.default_rng(seed)
    order = study.trials[:n_trials].copy()
    for angle in study.angles:
        own = np.flatnonzero(study.targets[:n_trials] == angle)
        order[own] = rng.permutation(own)
    return order


def shuffled(study, n_pieces, seed):
    """Return the overlaps of pieces of block 2 with its trials shuffled within targets."""
    parts = np.array_split(shuffled_order(study, len(study.trials), seed), n_pieces)
    return np.array([fit_piece(study, p, n_starts=2).overlaps_[SEEN].to_numpy() for p in parts])


def velocities(study, chosen):
    """Cursor velocity of every trial and counted bin, in units of the speed."""
    readout = study.session.perturbed_readout
    commands = readout.command(study.session.perturbed.activity[chosen]) / study.speed
    velocity, out = np.zeros((len(commands), 2)), []
    for t in range(commands.shape[1]):
        velocity = velocity @ readout.smoothing.T + commands[:, t]
        out.append(velocity)
    return np.stack(out, axis=1)[:, FIRST:]


def behaviour(study, chosen, seed=0, n_bootstrap=400):
    """Loss of the mean movement, progress, and progress by target, with bootstrap errors.

    The loss is that of the task on the mean velocity of each target, less what the scatter of
    trials adds to the square of a mean.
    """
    velocity, targets = velocities(study, chosen), study.targets[chosen]
    towards = (
        velocity
        - np.array([[np.cos(np.deg2rad(a)), np.sin(np.deg2rad(a))] for a in targets])[:, None]
    )
    made = study.progress[chosen]
    rng = np.random.default_rng(seed)

    def measured(draw):
        losses, means = [], []
        for angle in study.angles:
            own = np.flatnonzero(targets == angle)
            if draw:
                own = rng.choice(own, len(own))
            error = towards[own]
            inflation = error.var(axis=0, ddof=1) / len(own)
            if draw:  # the replicate's mean scatters about one that scatters already
                inflation = 2 * inflation
            losses.append((error.mean(axis=0) ** 2 - inflation).sum(axis=1).mean())
            means.append(made[own].mean())
        return np.array([np.mean(losses), np.mean(means), *means])

    names = ["loss", "progress", *(f"progress {a:g}" for a in study.angles)]
    value = pd.Series(measured(False), index=names)
    draws = np.array([measured(True) for _ in range(n_bootstrap)])
    # a target of few trials scatters as the others do: its sd is pooled with theirs
    sd = draws.std(axis=0, ddof=1)
    counts = np.array([(targets == a).sum() for a in study.angles])
    residual = made - np.array([made[targets == a].mean() for a in targets])
    sd[2:] = np.sqrt(np.sum(residual**2) / (len(made) - len(study.angles)) / counts)
    return value, pd.Series(sd, index=names)


def cut(study, n_pieces, n_bootstrap=150, n_jobs=2, order=None):
    """Cut block 2, or trials in another order, into equal pieces; fit and measure each."""
    order = study.trials if order is None else order
    members = np.array_split(order, n_pieces)
    middle = [round(float(part.mean())) for part in np.array_split(np.arange(len(order)), n_pieces)]
    values = np.array([fit_piece(study, chosen).overlaps_[SEEN] for chosen in members])
    draws = Parallel(n_jobs=n_jobs)(
        delayed(refitted)(study, chosen, (k, b))
        for k, chosen in enumerate(members)
        for b in range(n_bootstrap)
    )
    draws = np.array(draws).reshape(n_pieces, n_bootstrap, -1)
    covariances = np.array([np.cov(d.T) for d in draws])
    # the inverse of a covariance from few draws is too large on average, by this much
    covariances *= (n_bootstrap - 1) / (n_bootstrap - len(SEEN) - 2)
    acts = [behaviour(study, chosen) for chosen in members]
    sds = np.array([d.std(axis=0, ddof=1) for d in draws])
    return Pieces(
        values=pd.DataFrame(values, columns=SEEN),
        sds=pd.DataFrame(sds, columns=SEEN),
        covariances=covariances,
        middle=np.array(middle),
        behaviour=pd.DataFrame([a[0] for a in acts]),
        behaviour_sds=pd.DataFrame([a[1] for a in acts]),
        members=members,
    )


def acted(study, matrices):
    """Return loss and progress of networks, (..., D, D): the columns of `behaviour`."""
    trials, tau = study.task.sample(), study.first.tau_
    flat = matrices.reshape(-1, *matrices.shape[-2:])
    rows = []
    for matrix in flat:
        made = simulate(Overlaps(matrix, 3, 1, 2, tolerance=1e-6), trials, "linear", tau).outputs
        cursor = trials.observe(made)
        loss = float(np.sum(trials.weights * (cursor - trials.targets) ** 2))
        by_target = study.speed * command_progress(
            made + trials.offset, trials.smoothing, study.angles, FIRST
        )
        rows.append([loss, by_target.mean(), *by_target])
    return np.array(rows).reshape(*matrices.shape[:-2], -1)
