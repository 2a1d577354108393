"""A network of rank two learns a damped oscillation: 21 overlaps, and where its poles go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from predictlearn.published.panels import Line, overlap_panels
from predictlearn.published.protocols import along, announce, load, run, spread, stacked, task_of
from predictlearn.published.result import Published, Reproduced, Row, numbers_table, verdict
from predictlearn.reporting.style import COLOURS, FAINT, INK, SOFT, new_figure, styled
from predictlearn.tasks.oscillation import DampedOscillation
from predictlearn.theory.activity import simulate
from predictlearn.theory.learning.invariants import conserved
from predictlearn.theory.overlaps import Overlaps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from predictlearn.protocol import ProtocolResult

__all__ = ["RESULT", "oscillation_limit", "oscillation_solution"]

_SIZES = (1, 2, 1)
_LEARNED = 1e-3
_NETWORK = {"color": "#b7bfc8", "linewidth": 4.0}
_THEORY = {"color": COLOURS["blue"], "linewidth": 1.3}


def oscillation_limit(task: DampedOscillation, tau: float = 1.0) -> dict[str, float]:
    """Return what decides the output of a linear network that rings, in the limit of small bins.

    Parameters
    ----------
    task : DampedOscillation
        The task, with decay c and angular frequency w.
    tau : float, default 1.0
        Time constant in seconds.

    Returns
    -------
    dict of str to float
        Gauge-invariant products of the visible overlaps, and the eigenvalues of (S_vu - 1) / tau,
        the poles: real part and imaginary part.

    Notes
    -----
    The impulse response is e^(-t/tau) (zm + zu (e^(S_vu t/tau) - 1) S_vu^-1 vm) / tau. It is
    a Re e^(pt) with p = -c + iw if S_vu has the eigenvalues s = 1 + tau p and its complex
    conjugate, and zm = tau a, zu vm = tau a Re s, zu vu vm = tau a Re s^2.

    Examples
    --------
    >>> limit = oscillation_limit(DampedOscillation())
    >>> round(limit["zu*vm"], 6), round(limit["zu*vu*vm"], 6)
    (0.7, -3.51)
    """
    pole = complex(-task.decay, task.frequency)
    return _moments(1.0 + tau * pole, pole, tau * task.amplitude)


def oscillation_solution(task: DampedOscillation, tau: float = 1.0) -> dict[str, float]:
    """Return the same at the task's own bin width, where the output is exact in every bin.

    Parameters
    ----------
    task : DampedOscillation
        The task.
    tau : float, default 1.0
        Time constant in seconds.

    Returns
    -------
    dict of str to float
        As `oscillation_limit`.

    Notes
    -----
    A bin multiplies the recurrence by 1 - r + r S_vu, r = dt/tau, and this is to be e^(p dt): the
    eigenvalue of S_vu is s = (e^(p dt) - 1 + r) / r.

    Examples
    --------
    >>> round(oscillation_solution(DampedOscillation())["real part of the poles"], 4)
    -0.3962
    """
    r = task.dt / tau
    factor = np.exp(complex(-task.decay, task.frequency) * task.dt)
    s = complex((factor - 1.0 + r) / r)
    return _moments(s, (s - 1.0) / tau, tau * task.amplitude)


def _moments(s: complex, pole: complex, gain: float) -> dict[str, float]:
    """Return the products and poles of a network whose S_vu has the eigenvalue s."""
    return {
        "zm": gain,
        "zu*vm": gain * s.real,
        "zu*vu*vm": gain * (s**2).real,
        "vu": 2 * s.real,
        "real part of the poles": pole.real,
        "imaginary part of the poles": pole.imag,
    }


def _poles(table: pd.DataFrame) -> np.ndarray:
    """Return the eigenvalues of S_vu - 1, the slower first, for rows of overlaps: (rows, 2)."""
    block = table[["v1u1", "v1u2", "v2u1", "v2u2"]].to_numpy().reshape(-1, 2, 2)
    poles = np.linalg.eigvals(block) - 1.0
    order = np.argsort(-poles.imag, axis=1)
    return np.asarray(np.take_along_axis(poles, order, axis=1))


def _decisive(final: Overlaps) -> dict[str, float]:
    """Return what decides the output of a network."""
    found = final.gauge_invariants()
    poles = np.linalg.eigvals(final.block("v", "u")) - 1.0
    values = {name: float(found[name]) for name in ("zm", "zu*vm", "zu*vu*vm", "vu")}
    values["real part of the poles"] = float(poles.real.mean())
    values["imaginary part of the poles"] = float(np.abs(poles.imag).max())
    return values


# -- figures ------------------------------------------------------------------------------------


def _output(axes: Axes, start: Overlaps, final: Overlaps, task: DampedOscillation) -> None:
    """Draw the output before and after learning, and the target."""
    trials = task.sample()
    time = np.arange(trials.n_steps) * task.dt
    axes.plot(time, trials.targets[0, :, 0], color=FAINT, linewidth=4.5, label="target")
    axes.plot(
        time, simulate(start, trials).outputs[0, :, 0], color=SOFT, linewidth=1.2,
        linestyle=(0, (3, 1.5)), label="before",
    )  # fmt: skip
    after = simulate(final, trials).outputs[0, :, 0]
    axes.plot(time, after, color=COLOURS["blue"], linewidth=1.3, label="after")
    axes.set_xlim(0.0, 12.0)
    axes.set_xlabel("Time (s)")
    axes.set_ylabel("Output y")
    axes.legend(fontsize=8.0)


def _paths(axes: Axes, result: ProtocolResult, task: DampedOscillation) -> None:
    """Draw the way of the poles in all networks, in the upper half plane, and where they should go.

    A real pair is two points on the axis; it is drawn too.
    """
    for network in range(result.n_networks):
        poles = _poles(along(result, "theory", network))
        for k in range(2):
            axes.plot(
                poles[:, k].real, np.abs(poles[:, k].imag), color=COLOURS["blue"], linewidth=0.8,
                alpha=0.5,
            )  # fmt: skip
        axes.plot(*_point(poles[0]), "o", color=SOFT, markersize=3.5)
        axes.plot(*_point(poles[-1]), "o", color=COLOURS["blue"], markersize=4.5)
    exact = oscillation_solution(task)
    axes.plot(
        exact["real part of the poles"], exact["imaginary part of the poles"], "x", color=INK,
        markersize=8.0, label="exact for dt = 0.05",
    )  # fmt: skip
    axes.plot(
        -task.decay, task.frequency, "+", color=COLOURS["vermillion"], markersize=9.0,
        label="-c + iw",
    )  # fmt: skip
    axes.set_xlabel("Real part (1/s)")
    axes.set_ylabel("Imaginary part (rad/s)")
    axes.legend(fontsize=8.0, loc="upper left")


def _point(poles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where to draw a pair of poles."""
    return poles.real, np.abs(poles.imag)


@styled
def learning_figure(result: ProtocolResult, task: DampedOscillation) -> Figure:
    """Return loss, output and the way of the poles."""
    figure = new_figure(2.7)
    left, middle, right = figure.subplots(1, 3)
    for network in range(result.n_networks):
        frame = along(result, "theory", network)
        left.semilogy(
            frame["epoch"], frame["loss"], color=COLOURS["sky"], linewidth=0.8,
            label="theory, others" if network == 1 else None,
        )  # fmt: skip
    for arm, style, label in (("network", _NETWORK, "network"), ("theory", _THEORY, "theory")):
        frame = along(result, arm)
        left.semilogy(frame["epoch"], frame["loss"], **style, label=label)
    left.set_ylim(bottom=1e-8)
    left.margins(x=0.0)
    left.set_xlabel("Epoch")
    left.set_ylabel("Loss")
    left.legend(fontsize=7.5, loc="lower left")
    left.set_title(f"Loss, {result.n_networks} networks")
    _output(middle, result.starts[0], result.final("theory")[0], task)
    middle.set_title("Output of one network")
    _paths(right, result, task)
    right.set_title("Poles in learning")
    return figure


@styled
def overlaps_figure(result: ProtocolResult) -> Figure:
    """Return the 21 overlaps of one network."""
    figure = new_figure(4.9)
    lines = [
        Line("network, N = 500", along(result, "network"), _NETWORK),
        Line("theory", along(result, "theory"), _THEORY),
    ]
    hidden = result.starts[0].invisible_names("linear")
    panels = overlap_panels(figure, result.overlap_names, hidden, lines, columns=7)
    last = int(lines[0].frame["epoch"].iloc[-1])
    panels[0].set_xticks([0, last], ["0", f"{last:,}"])
    figure.legend(
        panels[0].get_lines(), [line.label for line in lines], loc="outside upper left", ncols=2
    )
    return figure


# -- numbers ------------------------------------------------------------------------------------


def _rows(result: ProtocolResult, task: DampedOscillation, scale: float) -> list[Row]:
    """Return the numbers that decide the result."""
    theory, network = stacked(result, "theory"), stacked(result, "network")
    epochs = along(result, "theory")["epoch"].to_numpy()
    gap = np.abs(theory - network)
    below = theory[:, :, 0] < _LEARNED
    times = np.where(below.any(axis=1), epochs[below.argmax(axis=1)].astype(float), np.nan)
    learned = np.isfinite(times)
    trials = task.sample()
    finals = list(result.final("theory").values())
    error = np.array([np.abs(simulate(o, trials).outputs - trials.targets).max() for o in finals])
    n = len(finals)
    rows: list[Row] = [
        ("theory: largest error of 21 overlaps, all epochs", "none to be seen",
         float(gap[:, :, 1:].max()), verdict(gap[:, :, 1:].max() < 1e-9)),
        ("theory: largest error of the loss", "none to be seen", float(gap[:, :, 0].max()),
         verdict(gap[:, :, 0].max() < 1e-9)),
        ("loss-visible overlaps", "9 of 21", f"{len(finals[0].visible_names('linear'))} of "
         f"{len(finals[0].names)}", verdict(len(finals[0].visible_names("linear")) == 9)),
        (f"networks with a loss below {_LEARNED:g} at the end", "learns the task",
         f"{int(learned.sum())} of {n}", verdict(bool(learned.all()), scale)),
        (f"epochs to a loss of {_LEARNED:g}", "",
         spread(times[learned]) if learned.any() else "none", "ours only"),
        ("final output: largest distance from the target", "follows it", spread(error),
         verdict(float(error.max()) < 0.05, scale)),
    ]  # fmt: skip
    values = [_decisive(final) for final in finals]
    limit, exact = oscillation_limit(task), oscillation_solution(task)
    formulas = {
        "zm": "a",
        "zu*vm": "a (1 - c)",
        "zu*vu*vm": "a ((1 - c)^2 - w^2)",
        "vu": "2 (1 - c)",
        "real part of the poles": "-c",
        "imaginary part of the poles": "w",
    }
    for name, formula in formulas.items():
        found = np.array([value[name] for value in values])
        near = float(np.median(np.abs(found - limit[name]))) < 0.02 * max(1.0, abs(limit[name]))
        rows.append((f"final {name}", f"{formula} = {limit[name]:g}", spread(found, 5),
                     verdict(near, scale)))  # fmt: skip
    for name, value in exact.items():
        found = np.array([item[name] for item in values])
        quantity = f"final {name}: distance from {value:.5f}, exact for dt = {task.dt:g}"
        rows.append((quantity, "", float(np.abs(found - value).max()), "ours only"))
    return [*rows, *_conserved_rows(result)]


def _conserved_rows(result: ProtocolResult) -> list[Row]:
    """Return the rows on what is conserved."""
    finals = result.final("theory")
    moved = pd.DataFrame(
        [conserved(finals[k]) - conserved(start) for k, start in enumerate(result.starts)]
    )
    uv = moved.filter(like="uu-vv") if "uu-vv" in moved else moved.filter(like="u1u")
    largest = uv.abs().max(axis=1).to_numpy()
    spectrum = moved.filter(like="JS").abs().max(axis=1).to_numpy()
    return [
        ("change of U'U - V'V over learning, largest entry", "conserved by gradient flow",
         spread(largest), verdict(bool((largest < 0.1).all()))),
        ("change of the eigenvalues of J S, largest", "conserved by gradient flow",
         spread(spectrum), verdict(bool((spectrum < 0.1).all()))),
    ]  # fmt: skip


def _findings(result: ProtocolResult, task: DampedOscillation) -> tuple[str, ...]:
    """Return what differs from the published claim, with numbers."""
    exact, limit = oscillation_solution(task), oscillation_limit(task)
    losses = stacked(result, "theory")[:, :, 0]
    middle = losses[:, losses.shape[1] // 2]
    return (
        f"At dt = {task.dt:g} the poles that ring exactly are not -c +- iw = "
        f"{-task.decay:g} +- {task.frequency:g}i but {exact['real part of the poles']:.4f} +- "
        f"{exact['imaginary part of the poles']:.4f}i, (e^(p dt) - 1)/dt, a third more damped: "
        f"forward Euler adds energy, and training takes it out again. Likewise zu vu vm is "
        f"{exact['zu*vu*vm']:.4f}, not {limit['zu*vu*vm']:.4g}. The networks end at the exact "
        "values.",
        "How long the plateau lasts depends on the draw: half way through training the loss is "
        f"{spread(middle)} in {len(middle)} networks, between learned and not begun. A figure of "
        "one network does not show this.",
        "Nine overlaps are visible to the loss but five numbers decide it: U -> U Q, V -> V Q^-T "
        "leaves the output as it is and moves all of the nine but zm. Compare networks by zm, "
        "zu vm, zu vu vm and the two eigenvalues of S_vu, not overlap by overlap.",
    )


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
    task = task_of(protocol, "ring", DampedOscillation)
    announce(progress, f"{protocol.spec.cohort.networks} networks, theory and neurons")
    result = run(protocol, seed=seed, n_jobs=n_jobs, folder=folder)
    announce(progress, "figures")
    figures = {"learning": learning_figure(result, task), "overlaps": overlaps_figure(result)}
    decisive = pd.DataFrame([_decisive(final) for final in result.final("theory").values()])
    decisive.index.name = "network"
    return Reproduced(
        figures,
        numbers_table(_rows(result, task, scale)),
        _findings(result, task) if scale >= 1.0 else (),
        {"final-overlaps": result.final_table("theory"), "decisive": decisive},
    )


RESULT = Published(
    name="damped-oscillation",
    title="Rank two: a damped oscillation",
    claim="A linear network of rank two learns e^(-ct) cos(wt); the equations for its 21 overlaps "
    "follow a network of 500 neurons throughout.",
    protocols=("published-damped-oscillation",),
    run=_reproduce,
    takes="40 s on one core",
)
