"""Do two networks do the same? Measured on networks of N neurons, decided by equivalence tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from predictlearn.checks import non_negative, positive, positive_int
from predictlearn.network.activity import network_outputs
from predictlearn.predictions.base import Cohort
from predictlearn.predictions.runs import child_seeds
from predictlearn.statistics.corrections import family_table
from predictlearn.statistics.equivalence import equivalence_paired
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Task, Trials
from predictlearn.workers import Parallel, delayed

__all__ = ["behaviour", "behaviour_tests"]

_MOST_TRIALS = 16


def _shown(trials: Trials) -> Trials:
    """Return at most a few of the trials, so that N-neuron activity stays small in memory."""
    if trials.n_trials <= _MOST_TRIALS:
        return trials
    keep = slice(0, _MOST_TRIALS)
    return replace(
        trials,
        inputs=trials.inputs[keep],
        targets=trials.targets[keep],
        weights=trials.weights[keep],
    )


def behaviour(
    first: Overlaps,
    second: Overlaps,
    task: Task,
    *,
    n_neurons: int,
    input_noise: float,
    nonlinearity: str,
    tau: float,
    seed: int,
) -> dict[str, float]:
    """Compare what two networks of N neurons do on the same trials and the same input noise.

    Parameters
    ----------
    first, second : Overlaps
        The networks; each gets its own loadings with exactly these overlaps.
    task : Task
        Draws the trials.
    n_neurons : int
        Neurons of each network.
    input_noise : float
        Standard deviation of white noise added to the inputs, as a share of their root mean square.
    nonlinearity : {"linear", "erf"}
        Which phi.
    tau : float
        Time constant in seconds.
    seed : int
        Seed of trials, noise and loadings.

    Returns
    -------
    dict
        ``loss_first`` and ``loss_second``; ``output_mismatch``, the weighted squared difference of
        the outputs; ``noise_mismatch``, the same for the responses to the noise (noisy minus clean
        output); and ``noise_response``, the weighted power of the first network's response, for
        scale. All in units of the loss.

    Examples
    --------
    >>> import predictlearn as pl
    >>> start = pl.Overlaps(np.eye(4)).replace(zu=0.1, vm=0.1)
    >>> twin = pl.functionally_equivalent(start, uu=2.05, mu=0.8)
    >>> same = behaviour(start, twin, pl.Filter(duration=5.0), n_neurons=50, input_noise=0.1,
    ...                  nonlinearity="linear", tau=1.0, seed=0)
    >>> bool(same["output_mismatch"] < 1e-20 * same["loss_first"])
    True
    """
    seeds = child_seeds(seed, 3)
    rng = np.random.default_rng(seeds[0])
    clean = _shown(task.sample(rng))
    sd = input_noise * float(np.sqrt(np.mean(clean.inputs**2)))
    noisy = replace(clean, inputs=clean.inputs + rng.normal(0.0, sd, clean.inputs.shape))
    outputs = []
    for overlaps, own in ((first, seeds[1]), (second, seeds[2])):
        loadings = overlaps.loadings(n_neurons, seed=own)
        quiet = clean.observe(network_outputs(loadings, clean, nonlinearity, tau))
        loud = clean.observe(network_outputs(loadings, noisy, nonlinearity, tau))
        outputs.append((quiet, loud - quiet))

    def power(gap: np.ndarray) -> float:
        """Return the weighted sum of squares."""
        return float(np.sum(clean.weights * gap**2))

    (quiet_1, answer_1), (quiet_2, answer_2) = outputs
    return {
        "loss_first": power(quiet_1 - clean.targets),
        "loss_second": power(quiet_2 - clean.targets),
        "output_mismatch": power(quiet_1 - quiet_2),
        "noise_mismatch": power(answer_1 - answer_2),
        "noise_response": power(answer_1),
    }


def behaviour_tests(
    cohort: Cohort,
    twins: Sequence[Overlaps | None],
    task: Task,
    *,
    margin: float,
    n_neurons: int,
    input_noise: float,
    nonlinearity: str,
    tau: float,
    alpha: float,
    seed: int,
    n_jobs: int = 1,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Test that pairs of networks do the same, within a margin stated as a share of the loss.

    Parameters
    ----------
    cohort : Cohort
        First network of each pair.
    twins : sequence of Overlaps or None
        Second network of each pair; None where there is none.
    task : Task
        What they are probed on.
    margin : float
        Largest difference that counts as the same: of losses and (squared) of outputs, as a share
        of the mean loss; of responses to input noise (squared), as a share of their mean power.
    n_neurons, input_noise, nonlinearity, tau, seed
        As for `behaviour`.
    alpha : float
        Level of each one-sided test.
    n_jobs : int
        Threads.

    Returns
    -------
    tests : pandas.DataFrame
        Three equivalence tests over networks (draws averaged). All three must hold for the networks
        to count as equivalent, an intersection-union test, which needs no correction. Mismatches
        cannot be negative, so only their upper bound is at stake. Empty if there is one network.
    measured : pandas.DataFrame
        The numbers of `behaviour`, one row a pair.
    """
    positive("margin", margin)
    positive_int("n_neurons", n_neurons, minimum=2)
    non_negative("input_noise", input_noise)
    # the same trials, noise and neurons for every draw of a network
    seeds = child_seeds(seed, cohort.n_networks)
    pairs = [
        (index, start, twin)
        for index, (start, twin) in enumerate(zip(cohort.starts, twins, strict=True))
        if twin is not None
    ]
    numbers = Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(behaviour)(
            start,
            twin,
            task,
            n_neurons=n_neurons,
            input_noise=input_noise,
            nonlinearity=nonlinearity,
            tau=tau,
            seed=seeds[int(cohort.network[index])],
        )
        for index, start, twin in pairs
    )
    rows = [
        {"draw": int(cohort.draw[index]), "network": int(cohort.network[index]), **found}
        for (index, _, _), found in zip(pairs, numbers, strict=True)
    ]
    measured = pd.DataFrame(rows)
    per_network = measured.groupby("network").mean()
    if len(per_network) < 2:
        return pd.DataFrame(), measured
    zero = np.zeros(len(per_network))
    compared = {
        "loss before learning (share of the loss)": (
            per_network["loss_second"],
            per_network["loss_first"],
            per_network["loss_first"].mean(),
        ),
        "squared output difference before learning (share of the loss)": (
            per_network["output_mismatch"],
            zero,
            per_network["loss_first"].mean(),
        ),
        "squared difference of responses to input noise (share of their power)": (
            per_network["noise_mismatch"],
            zero,
            per_network["noise_response"].mean(),
        ),
    }
    results = [
        equivalence_paired(
            np.asarray(first) / scale,
            np.asarray(second) / scale,
            margin,
            name=name,
            alpha=alpha,
            scale=1.0,
        )
        for name, (first, second, scale) in compared.items()
        if scale > 0
    ]
    table = family_table(results, family="equivalence before learning", method="none", alpha=alpha)
    return table, measured
