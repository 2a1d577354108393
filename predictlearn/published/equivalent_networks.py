"""Two networks that do the same and learn differently."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from predictlearn.network.activity import NetworkActivity, run_network
from predictlearn.published.protocols import announce, load, run, spread, stacked, task_of
from predictlearn.published.result import Published, Reproduced, Row, numbers_table, verdict
from predictlearn.reporting.style import COLOURS, INK, SOFT, new_figure, styled
from predictlearn.tasks.filter import Filter, impulse
from predictlearn.theory.activity import simulate
from predictlearn.theory.equivalence.equivalent import functionally_equivalent
from predictlearn.theory.loadings import Loadings
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Trials

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from predictlearn.protocol import ProtocolResult

__all__ = ["RESULT", "output_under_private_noise", "with_new_vector"]

_COLOURS = {
    "reference": COLOURS["blue"],
    "equivalent": COLOURS["vermillion"],
    "hidden": COLOURS["green"],
}
_LABELS = {
    "reference": "reference: uu = 1, mu near 0",
    "equivalent": "equivalent: uu = 2.05, mu = 0.8",
    "hidden": "ours: vv = 2.05, zv = 0.8",
}
_N = 500
_NOISE = 1.0
_LEARNED = 0.01


def with_new_vector(loadings: Loadings, pathway: str, target: Overlaps) -> Loadings:
    """Return the same neurons with one loading vector replaced, so that they have given overlaps.

    Parameters
    ----------
    loadings : Loadings
        A network of one input, output and rank.
    pathway : {"m", "u", "v", "z"}
        Which vector is replaced; the others stay, neuron by neuron.
    target : Overlaps
        What the new network has; it agrees with the old one in all overlaps without that vector.

    Returns
    -------
    Loadings
        The new vector keeps the direction that the old one has outside the span of the others.

    Examples
    --------
    >>> import numpy as np
    >>> start = Overlaps(np.eye(4))
    >>> twin = with_new_vector(start.loadings(50), "u", start.replace(uu=2.05, mu=0.8))
    >>> round(Overlaps.from_loadings(twin)["mu"], 12), round(Overlaps.from_loadings(twin)["uu"], 12)
    (0.8, 2.05)
    """
    k = "muvz".index(pathway)
    rest = [j for j in range(4) if j != k]
    theta = loadings.stacked
    n = len(theta)
    others = theta[:, rest]
    inside = np.linalg.solve(others.T @ others / n, target.matrix[rest, k])
    span, *_ = np.linalg.lstsq(others, theta[:, k], rcond=None)
    private = theta[:, k] - others @ span
    left = target.matrix[k, k] - inside @ target.matrix[rest, k]
    new = others @ inside + private * np.sqrt(left / (private @ private / n))
    columns = [new if j == k else theta[:, j] for j in range(4)]
    return Loadings(*(column[:, None] for column in columns))


def output_under_private_noise(
    loadings: Loadings, trials: Trials, sd: float, n_trials: int, seed: int
) -> np.ndarray:
    """Return the output of a linear network whose neurons each have noise of their own.

    Parameters
    ----------
    loadings : Loadings
        A network of one input, output and rank.
    trials : Trials
        One trial; its inputs and bin width are used, with tau = 1 s.
    sd : float
        Standard deviation of the noise that is added to every neuron's current in every bin.
    n_trials : int
        Repetitions.
    seed : int
        Seed of the noise.

    Returns
    -------
    numpy.ndarray, (trials, time)
        The output, read after the update of each bin.
    """
    rng = np.random.default_rng(seed)
    m, u, v, z = (vector[:, 0] for vector in
                  (loadings.m, loadings.u, loadings.v, loadings.z))  # fmt: skip
    n = len(m)
    h = np.zeros((n_trials, n))
    outputs = np.empty((n_trials, trials.n_steps))
    for t in range(trials.n_steps):
        drive = (h @ v / n)[:, None] * u + trials.inputs[0, t, 0] * m
        h = (1.0 - trials.dt) * h + trials.dt * drive + sd * rng.standard_normal(h.shape)
        outputs[:, t] = h @ z / n
    return outputs


@dataclass(frozen=True)
class _Pair:
    """What a network and an equivalent of it do, in N neurons that share all vectors but one."""

    first: NetworkActivity
    second: NetworkActivity
    noisy: tuple[np.ndarray, np.ndarray]

    @property
    def output_gap(self) -> float:
        """Largest difference of output on the task."""
        return float(np.abs(self.first.outputs - self.second.outputs).max())

    @property
    def noise_gap(self) -> float:
        """Largest difference of output under noise on the input."""
        return float(np.abs(self.noisy[0] - self.noisy[1]).max())

    @property
    def activity_gap(self) -> float:
        """Root mean square difference of all neurons' currents, relative to the currents."""
        return float(np.linalg.norm(self.first.h - self.second.h) / np.linalg.norm(self.first.h))


def _noisy_trials(task: Filter, seed: int) -> Trials:
    """Return the task's impulse with white noise on the input, sd 1 per bin, in eight trials."""
    rng = np.random.default_rng(seed)
    clean = task.sample()
    shape = (8, clean.n_steps, 1)
    inputs = impulse(clean.n_steps, clean.dt) + _NOISE * rng.standard_normal(shape)
    zeros = np.zeros(shape)
    return Trials(inputs, zeros, zeros + clean.dt, clean.dt)


def _compare(first: Loadings, second: Loadings, task: Filter, seed: int) -> _Pair:
    """Run two networks on the same inputs."""
    trials, noisy = task.sample(), _noisy_trials(task, seed)
    outputs = (run_network(first, noisy).outputs, run_network(second, noisy).outputs)
    return _Pair(run_network(first, trials), run_network(second, trials), outputs)


def _pairs(starts: Mapping[str, list[Overlaps]], task: Filter, seed: int) -> dict[str, list[_Pair]]:
    """Return the pairs of every network, by the arm that it is paired with."""
    found: dict[str, list[_Pair]] = {"equivalent": [], "hidden": []}
    for k, reference in enumerate(starts["reference"]):
        first = reference.loadings(_N, seed + k)
        for arm, pathway in (("equivalent", "u"), ("hidden", "v")):
            second = with_new_vector(first, pathway, starts[arm][k])
            found[arm].append(_compare(first, second, task, seed + k))
    return found


# -- figures ------------------------------------------------------------------------------------


def _neurons(axes: Axes, pair: _Pair, time: np.ndarray) -> None:
    """Draw the currents of three neurons in both networks."""
    # those that differ most, so that a difference cannot hide
    order = np.argsort(-np.abs(pair.first.h - pair.second.h).max(axis=(0, 1)))[:3]
    step = 1.1 * np.ptp(np.concatenate([pair.first.h, pair.second.h])[..., order], axis=1).max()
    for k, neuron in enumerate(order):
        shift = -step * k
        axes.plot(time, pair.first.h[0, :, neuron] + shift, color=_COLOURS["reference"])
        axes.plot(
            time, pair.second.h[0, :, neuron] + shift,
            color=_COLOURS["equivalent"], linestyle=(0, (3, 1.5)),
        )  # fmt: skip
    axes.set_yticks([])
    axes.set_xlabel("Time (s)")
    axes.set_ylabel("Current h of three neurons")


def _bands(axes: Axes, epochs: np.ndarray, values: Mapping[str, np.ndarray]) -> None:
    """Draw learning curves: median and range over networks."""
    for arm, curves in values.items():
        low, middle, high = (f(curves[:, :, 0], axis=0) for f in (np.min, np.median, np.max))
        axes.fill_between(epochs, low, high, color=_COLOURS[arm], alpha=0.18, linewidth=0)
        # two of the curves lie on each other
        dashes = (0, (3, 1.5)) if arm == "hidden" else "-"
        axes.semilogy(epochs, middle, color=_COLOURS[arm], linestyle=dashes, label=_LABELS[arm])
    axes.set_ylim(bottom=1e-6)
    axes.set_xlim(0, min(1000, epochs[-1]))
    axes.set_xlabel("Epoch")
    axes.set_ylabel("Loss")
    axes.set_title(f"Learning: median and range of {len(values['reference'])} networks")
    axes.legend(fontsize=8.0)


def _race(axes: Axes, times: Mapping[str, np.ndarray]) -> None:
    """Draw how many epochs each network takes, against its reference."""
    for arm in ("equivalent", "hidden"):
        axes.plot(
            times["reference"], times[arm], "o", color=_COLOURS[arm], markersize=4.0, alpha=0.85
        )
    known = np.concatenate([*times.values()])
    known = known[np.isfinite(known)]
    if len(known):
        edges = [0.0, 1.08 * float(known.max())]
        axes.plot(edges, edges, color=SOFT, linewidth=0.9, zorder=0)
        axes.set(xlim=edges, ylim=edges)
    axes.set_aspect("equal")
    axes.set_xlabel("Reference (epochs)")
    axes.set_ylabel("Same function (epochs)")
    axes.set_title("Epochs to a loss of 0.01")


@styled
def pair_figure(
    before: _Pair, after: _Pair, values: dict[str, np.ndarray], epochs: np.ndarray, dt: float
) -> Figure:
    """Return what two equivalent networks share, what they do not, and how they learn."""
    figure = new_figure(5.6)
    grid = figure.subplots(2, 3, width_ratios=[1, 1, 1.15])
    time = np.arange(before.first.h.shape[1]) * dt
    for axes, pair, when in ((grid[0, 0], before, "start"), (grid[0, 1], after, "learned")):
        _neurons(axes, pair, time)
        axes.set_title(f"Neurons, {when}: {100 * pair.activity_gap:.0f}% apart", fontsize=8.5)
    axes = grid[0, 2]
    axes.plot(time, after.noisy[0][0, :, 0], color=_COLOURS["reference"], linewidth=3.0, alpha=0.5)
    axes.plot(time, after.noisy[1][0, :, 0], color=_COLOURS["equivalent"], linewidth=0.9)
    axes.set_xlabel("Time (s)")
    axes.set_ylabel("Output y")
    axes.set_title("Output under input noise", fontsize=8.5)
    shared = grid[1, 0].get_gridspec()
    for axes in grid[1, :]:
        axes.remove()
    left = figure.add_subplot(shared[1, :2])
    right = figure.add_subplot(shared[1, 2])
    _bands(left, epochs, values)
    _race(right, {arm: _times(curves, epochs) for arm, curves in values.items()})
    for axes in (grid[0, 0], grid[0, 1], grid[0, 2], left, right):
        axes.tick_params(labelcolor=INK)
    return figure


# -- numbers ------------------------------------------------------------------------------------


def _times(curves: np.ndarray, epochs: np.ndarray) -> np.ndarray:
    """Return for each network the first recorded epoch with a loss below 0.01, or NaN."""
    below = curves[:, :, 0] < _LEARNED
    return np.where(below.any(axis=1), epochs[below.argmax(axis=1)].astype(float), np.nan)


def _function_rows(
    start: dict[str, list[_Pair]],
    learned: list[_Pair],
    k_gap: float,
    noise: dict[str, float],
    scale: float,
) -> list[Row]:
    """Return the rows on what equivalent networks do."""
    pairs = start["equivalent"]
    output = max(pair.output_gap for pair in [*pairs, *learned])
    response = max(pair.noise_gap for pair in [*pairs, *learned])
    far = np.array([pair.activity_gap for pair in pairs])
    further = np.array([pair.activity_gap for pair in learned])
    unseen = max(pair.activity_gap for pair in start["hidden"])
    return [
        ("same output: largest difference", 0, output, verdict(output < 1e-10)),
        ("same response to noise on the input: largest difference of output", 0, response,
         verdict(response < 1e-10)),
        ("same reduced activity k_m, k_u: largest difference", 0, k_gap, verdict(k_gap == 0.0)),
        ("activity of the neurons, the published pair: rms difference over rms", "the same",
         spread(far), verdict(float(np.median(far)) < 0.05)),
        ("activity of the neurons, the same change after learning: rms difference over rms",
         "the same", spread(further), verdict(float(np.median(further)) < 0.05, scale)),
        ("the pair in vv and zv, activity of the neurons: rms difference over rms", "", unseen,
         "ours only"),
        ("private noise of neurons: variance of output, published pair, ratio", "",
         noise["equivalent"], "ours only"),
        ("private noise of neurons: variance of output, pair in vv and zv, ratio", "",
         noise["hidden"], "ours only"),
    ]  # fmt: skip


def _learning_rows(values: dict[str, np.ndarray], epochs: np.ndarray, scale: float) -> list[Row]:
    """Return the rows on how equivalent networks learn."""
    times = {arm: _times(curves, epochs) for arm, curves in values.items()}
    ratio = times["reference"] / times["equivalent"]
    n = len(ratio)
    faster = int(np.sum(times["equivalent"] < times["reference"]))
    gap = np.abs(values["equivalent"][:, :, 0] - values["reference"][:, :, 0])
    relative = gap.max(axis=1) / values["reference"][:, 0, 0]
    error = np.abs(values["equivalent, neurons"] - values["equivalent"]).max()
    first = np.abs(values["equivalent"][:, 0, 0] - values["reference"][:, 0, 0]).max()
    return [
        ("loss before learning: largest difference", 0, float(first), verdict(first < 1e-12)),
        ("loss in learning: largest difference, part of the first loss", "different",
         spread(relative), verdict(bool((relative > 0.02).all()), scale)),
        *((f"epochs to a loss of 0.01, {arm}", "", spread(times[arm]), "ours only")
          for arm in ("reference", "equivalent", "hidden")),
        ("networks of which the equivalent learns faster", "", f"{faster} of {n}", "ours only"),
        ("speed of the equivalent, relative", "", spread(ratio), "ours only"),
        ("the equivalent as 500 neurons: largest error of theory", "none to be seen", float(error),
         verdict(error < 1e-10)),
    ]  # fmt: skip


def _findings(
    start: dict[str, list[_Pair]],
    learned: list[_Pair],
    noise: dict[str, float],
    sizes: np.ndarray,
    hidden: np.ndarray,
    times: Mapping[str, np.ndarray],
    aligned: np.ndarray,
) -> tuple[str, ...]:
    """Return what differs from the published claim, with numbers."""
    far = np.array([pair.activity_gap for pair in start["equivalent"]])
    further = np.array([pair.activity_gap for pair in learned])
    slow = times["equivalent"] >= times["reference"]
    return (
        _on_speed(slow, aligned),
        "The same hidden activity is true of the reduced activity k, not of the neurons: h = m k_m "
        f"+ u k_u, and the two networks have different u. The currents are {spread(100 * far)}% "
        f"apart (rms) at the start, where k_u is small, and {spread(100 * further)}% with the same "
        "change made after learning. No choice of neurons can avoid it, since the mean square "
        f"current over neurons, k' S_bb k, is itself {spread(sizes)} times as large, summed over "
        "the learned trial. A recording of the neurons tells the published pair apart; the loss, "
        "the output and k do not.",
        "A pair that a recording of activity cannot tell apart differs in vv, zv or zz. With "
        "vv = 2.05 and zv = 0.8, the mirror image of the published change, every neuron does "
        f"the same at all times, and {spread(hidden)} is its largest difference of the loss in "
        "learning, as a part of the first loss.",
        "Same response to noise holds for noise on the input. Noise of each neuron's own reaches "
        "the output through v and z, of which the published pair has the same, so there too it "
        f"responds alike (variance ratio {noise['equivalent']:.3f}); the pair in vv and zv does "
        f"not (ratio {noise['hidden']:.2f} after learning): intrinsic noise, which falls as 1/N, "
        "is a place where hidden overlaps show without learning.",
    )


def _on_speed(slow: np.ndarray, aligned: np.ndarray) -> str:
    """Return the finding on which equivalent networks learn slower than their reference."""
    said = (
        f"Whether uu and mu speed learning up depends on the draw: the equivalent is not faster in "
        f"{int(slow.sum())} of {len(slow)} networks. mu means something only beside the signs of "
        "zu and vm, since u and v may both be turned round without any effect on the function. "
    )
    if slow.any() and not slow.all():
        said += (
            f"zu + vm is {spread(aligned[slow], 2)} in those networks and "
            f"{spread(aligned[~slow], 2)} in the others: where mu > 0 first has to turn zu and vm "
            "round, it delays."
        )
    return said


def _reproduce(
    *,
    seed: int = 0,
    n_jobs: int = 1,
    scale: float = 1.0,
    folder: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Reproduced:
    """Rebuild it; see `predictlearn.published.reproduce`."""
    protocol = load(RESULT.protocols[0], scale)
    task = task_of(protocol, "filter", Filter)
    announce(progress, f"{protocol.spec.cohort.networks} networks and their equivalents learn")
    result = run(protocol, seed=seed, n_jobs=n_jobs, folder=folder)
    values = {arm: stacked(result, arm) for arm in result.arms}
    epochs = np.asarray(result.curves("reference").index.get_level_values("epoch"))
    announce(progress, f"what they do, in {_N} neurons")
    starts = {arm: _starts(result, arm) for arm in _COLOURS}
    pairs = _pairs(starts, task, seed)
    # the same changes, made to networks that have learned
    finals = list(result.final("reference").values())
    changed = {
        "reference": finals,
        "equivalent": [_shifted(o, uu=1.05, mu=0.8) for o in finals],
        "hidden": [_shifted(o, vv=1.05, zv=0.8) for o in finals],
    }
    learned = _pairs(changed, task, seed)
    announce(progress, "private noise of neurons")
    noise = _private_noise({arm: many[0] for arm, many in changed.items()}, task, seed)
    rows = [
        *_function_rows(
            pairs, learned["equivalent"], _reduced_gap(starts, changed, task), noise, scale
        ),
        *_learning_rows(values, epochs, scale),
    ]
    gap = np.abs(values["hidden"][:, :, 0] - values["reference"][:, :, 0]).max(axis=1)
    hidden = gap / values["reference"][:, 0, 0]
    sizes = np.array([np.sum(p.second.h**2) / np.sum(p.first.h**2) for p in learned["equivalent"]])
    times = {arm: _times(curves, epochs) for arm, curves in values.items()}
    aligned = np.array([start["zu"] + start["vm"] for start in result.starts])
    announce(progress, "figure")
    shown = {arm: values[arm] for arm in _COLOURS}
    figure = pair_figure(pairs["equivalent"][0], learned["equivalent"][0], shown, epochs, task.dt)
    table = pd.DataFrame(times)
    table.index.name = "network"
    return Reproduced(
        {"pair": figure},
        numbers_table(rows),
        _findings(pairs, learned["equivalent"], noise, sizes, hidden, times, aligned)
        if scale >= 1.0
        else (),
        {"epochs-to-criterion": table},
    )


def _starts(result: ProtocolResult, arm: str) -> list[Overlaps]:
    """Return the overlaps that an arm starts from."""
    table, sizes = result.start_table(arm), result.starts[0].sizes
    return [Overlaps.from_series(row, *sizes) for row in table.to_dict("records")]


def _shifted(overlaps: Overlaps, **amounts: float) -> Overlaps:
    """Return the functional equivalent with amounts added to invisible overlaps."""
    new = {name: overlaps[name] + amount for name, amount in amounts.items()}
    return functionally_equivalent(overlaps, "linear", **new)


def _reduced_gap(
    starts: Mapping[str, list[Overlaps]], learned: Mapping[str, list[Overlaps]], task: Filter
) -> float:
    """Return the largest difference of reduced activity in any pair."""
    trials = task.sample()
    gaps = []
    for group in (starts, learned):
        for arm in ("equivalent", "hidden"):
            for a, b in zip(group["reference"], group[arm], strict=True):
                first, second = simulate(a, trials), simulate(b, trials)
                gaps.append(np.abs(first.k_u - second.k_u).max())
                gaps.append(np.abs(first.k_m - second.k_m).max())
    return float(max(gaps))


def _private_noise(overlaps: Mapping[str, Overlaps], task: Filter, seed: int) -> dict[str, float]:
    """Return the variance of output under neurons' own noise, relative to the reference."""
    trials = task.sample()
    first = overlaps["reference"].loadings(_N, seed)
    networks = {"reference": first}
    for arm, pathway in (("equivalent", "u"), ("hidden", "v")):
        networks[arm] = with_new_vector(first, pathway, overlaps[arm])
    late = trials.n_steps // 2
    variance = {
        arm: float(
            output_under_private_noise(network, trials, 0.1, 100, seed)[:, late:].var(axis=0).mean()
        )
        for arm, network in networks.items()
    }
    return {arm: variance[arm] / variance["reference"] for arm in ("equivalent", "hidden")}


RESULT = Published(
    name="equivalent-networks",
    title="Same function, different learning",
    claim="Two networks with the same loss-visible overlaps, one with uu = 1 and mu near 0, the "
    "other with uu = 2.05 and mu = 0.8, have the same hidden activity, the same output and the "
    "same response to input noise, and learn a filter along different curves.",
    protocols=("published-equivalent-networks",),
    run=_reproduce,
    takes="20 s on one core",
)
