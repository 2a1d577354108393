"""Make simulated-learning.npz: SIMULATED spike counts of a network that learns.

A network of 300 erf neurons learns the flip-flop by gradient descent on all its loadings. At five
stages of learning, 80 of its neurons are "recorded" while it does 40 trials of the task: spike
counts are Poisson, with mean baseline + gain * (mean of phi(h) over the bin). The network runs in
continuous time there, in steps of a twentieth of a bin. The same neurons in every session.

Run from anywhere: ``python datasets/make_simulated.py [FILE]``. The same file comes out every time.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

import predictlearn as pl
from predictlearn.files import write_atomically

SEED = 20260504
N_NETWORK, N_RECORDED, N_TRIALS = 300, 80, 40
# steps in a bin of a recording
FINE = 20
STAGES = (0, 30, 80, 200, 600)
TAU = 1.0
RATE = 0.02
# spikes per bin of 100 ms, per unit of phi(h), and at rest: 25 to 40 Hz, modulated by up to 20 Hz
GAIN = 2.0
BASELINE = (2.5, 4.0)
# sd of the error with which behaviour, the network's output, is read
OUTPUT_NOISE = 0.05
TASK = pl.FlipFlop(
    wait=(1.0, 2.0),
    input_amplitude=2.0,
    target_amplitude=0.5,
    duration=8.0,
    dt=0.1,
    trials=32,
)
START = {"zm": 0.1, "zu": 0.3, "vm": 0.4, "vu": 0.5, "mu": 0.2}


def make() -> dict[str, np.ndarray]:
    """Train the network and record its sessions.

    Returns
    -------
    dict of ndarray
        Arrays of the data set; see README.md beside this file.
    """
    seeds = [int(s) for s in np.random.SeedSequence(SEED).generate_state(4)]
    rng = np.random.default_rng(seeds[0])
    loadings = pl.Overlaps(np.eye(4)).replace(**START).loadings(N_NETWORK, seed=seeds[1] % 2**31)
    recorded = np.sort(rng.permutation(N_NETWORK)[:N_RECORDED])
    baseline = rng.uniform(*BASELINE, size=N_RECORDED)
    task = pl.FlipFlop(**{**_settings(), "trials": N_TRIALS})
    kept: dict[str, list[np.ndarray]] = {
        name: []
        for name in ("counts", "inputs", "outputs", "targets", "weights", "overlaps", "true_loss")
    }
    done = 0
    for stage in STAGES:
        if stage > done:
            run = pl.train_network(
                loadings,
                TASK,
                pl.GradientDescent(RATE),
                stage - done,
                "erf",
                tau=TAU,
                seed=seeds[2] % 2**31 + done,
            )
            loadings = run.loadings
            done = stage
        trials = task.sample(rng)
        rates, outputs = _bin_means(loadings, trials)
        mean = baseline + GAIN * rates[:, :, recorded]
        counts = rng.poisson(mean)
        if counts.max() > 255:
            raise ValueError("counts do not fit into one byte")
        kept["counts"].append(counts.astype(np.uint8))
        kept["inputs"].append(trials.inputs.astype(np.float32))
        noise = OUTPUT_NOISE * rng.standard_normal(outputs.shape)
        kept["outputs"].append((outputs + noise).astype(np.float32))
        kept["targets"].append(trials.targets.astype(np.float32))
        kept["weights"].append(trials.weights.astype(np.float32))
        kept["true_loss"].append(np.float64(trials.loss(outputs)))
        kept["overlaps"].append(pl.Overlaps.from_loadings(loadings).matrix)
    return {
        **{name: np.stack(arrays) for name, arrays in kept.items()},
        "epochs": np.array(STAGES),
        "recorded": recorded,
        "baseline": baseline,
        "dt": np.float64(TASK.dt),
        "metadata": np.str_(json.dumps(_metadata(), indent=1)),
    }


def _bin_means(loadings: pl.Loadings, trials: pl.Trials) -> tuple[np.ndarray, np.ndarray]:
    """Return rates and outputs, averaged over bins, of a network that runs in finer steps."""
    fine = pl.Trials(
        *(np.repeat(a, FINE, axis=1) for a in (trials.inputs, trials.targets, trials.weights)),
        dt=trials.dt / FINE,
    )
    activity = pl.run_network(loadings, fine, "erf", TAU)
    shape = (len(trials.inputs), -1, FINE)
    rates, outputs = (
        a.reshape(*shape, a.shape[2]).mean(axis=2) for a in (activity.rates, activity.outputs)
    )
    return rates, outputs


def _settings() -> dict[str, object]:
    """Return the settings of the task."""
    return asdict(TASK)


def _metadata() -> dict[str, object]:
    """Return what the data set says about itself."""
    return {
        "name": "simulated-learning",
        "simulated": True,
        "description": (
            "SIMULATED. Poisson spike counts of 80 of the 300 neurons of an erf network that "
            "learns the flip-flop by gradient descent; no animal was recorded."
        ),
        "source": "datasets/make_simulated.py of predictlearn",
        "licence": "MIT",
        "seed": SEED,
        "nonlinearity": "erf",
        "tau": TAU,
        "gain": GAIN,
        "counts": "Poisson, mean per bin = baseline + gain * mean of phi(h) over the bin",
        "output_noise": OUTPUT_NOISE,
        "network_size": N_NETWORK,
        "task": {"kind": "flip-flop", **_settings()},
        "rule": {"kind": "gradient descent", "rate": RATE},
    }


if __name__ == "__main__":
    default = Path(__file__).resolve().parent / "simulated-learning.npz"
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    content = make()
    write_atomically(file, lambda stream: np.savez_compressed(stream, **content))
    print(f"{file}: {file.stat().st_size / 1e6:.2f} MB")  # noqa: T201
