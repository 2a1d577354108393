"""Flip-flop: theory, network and direct descent; how Gaussian the loadings stay, by the rule."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from predictlearn.published.flip_flop.figures import (
    learning_figure,
    loadings_figure,
    steps_figure,
)
from predictlearn.published.flip_flop.runs import (
    BEFORE,
    COURSES,
    Runs,
    closeness_table,
    direct_course,
    gaussianity_table,
)
from predictlearn.published.protocols import announce, load, run, spread
from predictlearn.published.result import Published, Reproduced, Row, numbers_table, verdict
from predictlearn.theory.names import PATHWAYS
from predictlearn.theory.populations.gaussianity import gaussian_bands

__all__ = ["RESULT"]

_ALPHA = 0.05
# theory counts as following the network within this part of the largest change
_CLOSE = 0.1
_RATES = tuple(COURSES)
_SMALL, _SAME, _LARGE, _LARGE_LONG, _ADAM, _ADAM_LONG = _RATES
# the others are in the tables
_SHOWN = (_SAME, _LARGE, _LARGE_LONG, _ADAM_LONG)


def _of(table: pd.DataFrame, course: str, column: str) -> np.ndarray:
    """Return a column of one course, a value a network."""
    return table.loc[table["course"] == course, column].to_numpy(dtype=float)


def _joint_p(table: pd.DataFrame, course: str) -> float:
    """Return Fisher's combination over networks of the p values of joint Gaussianity."""
    return float(stats.combine_pvalues(_of(table, course, "joint distance p")).pvalue)


def _closeness_rows(
    closeness: pd.DataFrame, direct: pd.DataFrame, left: np.ndarray, scale: float
) -> list[Row]:
    """Return the rows on theory against network."""
    learned = closeness[closeness["course"].isin(_RATES)]["learned"]
    share = _of(closeness, _SAME, "end") / _of(closeness, _SAME, "moved")
    wrong = direct["end"].to_numpy() / _of(closeness, _SAME, "moved")
    rows: list[Row] = [
        ("networks that learned, in all courses", "all", f"{int(learned.sum())} of {len(learned)}",
         verdict(bool(learned.all()), scale)),
        (f"{_SAME}: final loss, network", "", spread(_of(closeness, _SAME, "loss")), "ours only"),
        (f"{_SAME}: final loss, theory", "that of the network",
         spread(_of(closeness, _SAME, "theory")),
         verdict(bool((_of(closeness, _SAME, "theory") < 0.01).all()), scale)),
        (f"{_SAME}: final error of theory / largest change", "small", spread(share),
         verdict(bool((share < _CLOSE).all()), scale)),
        ("descent in overlap space: final error / largest change", "large", spread(wrong),
         verdict(bool((wrong > 2 * _CLOSE).all()), scale)),
        ("descent in overlap space: epoch from which no network has the overlaps", "",
         ", ".join("never" if np.isnan(epoch) else f"{epoch:.0f}" for epoch in left), "ours only"),
    ]  # fmt: skip
    for course, column, said in (
        (_LARGE_LONG, "end", "final error of theory, against that at the published rate"),
        (_ADAM_LONG, "path", "distance from theory's courses, against the published rate's"),
    ):
        far, near = _of(closeness, course, column), _of(closeness, _SAME, column)
        rows.append((f"{course}: {said}", "larger", f"{np.median(far / near):.3g} times",
                     verdict(bool((far > near).all()), scale)))  # fmt: skip
    for column, said in (
        ("end", "final error of theory"),
        ("output", "error of the output that the final overlaps give"),
        ("drift", "drift of uu - vv"),
    ):
        rows += [
            (f"{course}: {said}", "", spread(_of(closeness, course, column)), "ours only")
            for course in _SHOWN
            if np.isfinite(_of(closeness, course, column)).all()
        ]
    return rows


def _gaussian_rows(table: pd.DataFrame, n_neurons: int, scale: float) -> list[Row]:
    """Return the rows on Gaussianity."""
    rows: list[Row] = []
    edge = np.quantile(gaussian_bands(n_neurons, len(PATHWAYS)).joint_distance, 0.95)
    for course in (BEFORE, *_RATES):
        p = _joint_p(table, course)
        mean = np.mean(_of(table, course, "joint distance"))
        said, judged = "", "ours only"
        if course in (_SMALL, _SAME):
            said, judged = f"near Gaussian (95% below {edge:.3g})", verdict(mean < edge, scale)
        elif course in (_LARGE_LONG, _ADAM_LONG):
            gap = _of(table, course, "joint distance") - _of(table, _SAME, "joint distance")
            said = f"less Gaussian than {_SAME}"
            judged = verdict(bool((gap > 0).all()), scale)
        rows.append((f"{course}: Henze-Zirkler distance, all four loadings", said,
                     f"{mean:.3g}, p = {p:.2g}", judged))  # fmt: skip
    for course in _SHOWN:
        parts = ", ".join(
            f"{name} {np.mean(_of(table, course, f'change {name}')):+.2f}" for name in PATHWAYS
        )
        rows.append((f"{course}: change of excess kurtosis", "", parts, "ours only"))
    return rows


def _findings(
    runs: Runs, table: pd.DataFrame, closeness: pd.DataFrame, left: np.ndarray
) -> tuple[str, ...]:
    """Return what the numbers say beyond the claim."""
    n = runs.end(_SAME, 0).n_neurons
    band = np.quantile(gaussian_bands(n, len(PATHWAYS)).kurtosis, (0.025, 0.975))

    def moved(course: str, column: str) -> str:
        values = _of(table, course, f"change {column}")
        error = _of(table, course, f"error {column}")
        pooled = float(np.sqrt(np.sum(error**2))) / len(error)
        return f"{values.mean():+.2f} (standard error {pooled:.2f})"

    before, small, same = (
        _of(table, course, "joint distance")[0] for course in (BEFORE, _SMALL, _SAME)
    )
    alike = abs(same - small) < 0.2 * abs(same - before)
    said = [
        f"With {n} neurons a Gaussian sample has an excess kurtosis between {band[0]:.2f} and "
        f"{band[1]:.2f} in 95% of cases, so that histograms and Q-Q plots cannot show less. The "
        "change in the same neurons can: at the published rate the excess kurtosis of "
        f"m moves by {moved(_SAME, 'm')}, of u by {moved(_SAME, 'u')}, of v by "
        f"{moved(_SAME, 'v')}, of z by {moved(_SAME, 'z')}.",
        f"Near is not exact. Over {len(_of(table, _SAME, 'joint distance'))} networks together, "
        f"joint Gaussianity has p = {_joint_p(table, _SAME):.2g} after learning at the published "
        f"rate and p = {_joint_p(table, BEFORE):.2g} before. In the first network the distance is "
        f"{small:.3g} at {_SMALL} and {same:.3g} at {_SAME}, from {before:.3g} before learning"
        + (": what departs belongs to gradient flow, not to the step." if alike else "."),
        "Ten times the rate for as many epochs is ten times the learning time, so the published "
        "contrast has two causes. Distance from Gaussian: "
        f"{np.mean(_of(table, _SAME, 'joint distance')):.3g} at {_SAME}, "
        f"{np.mean(_of(table, _LARGE, 'joint distance')):.3g} at {_LARGE}, "
        f"{np.mean(_of(table, _LARGE_LONG, 'joint distance')):.3g} at {_LARGE_LONG}. Large steps "
        f"give u heavy tails (excess kurtosis {moved(_LARGE, 'u')} at the same learning time).",
        "Given the overlaps that the trained networks have, the theory is off in their output by "
        f"{spread(_of(closeness, _SAME, 'output'))} of its size at {_SAME}, "
        f"{spread(_of(closeness, _LARGE_LONG, 'output'))} at {_LARGE_LONG} and "
        f"{spread(_of(closeness, _ADAM_LONG, 'output'))} under Adam at as many epochs. This is the "
        "closure alone; the course of learning under Adam the theory does not give at all.",
        f"Adam leaves loadings with lighter tails than Gaussian ones: excess kurtosis of m changes "
        f"by {moved(_ADAM_LONG, 'm')}, of v by {moved(_ADAM_LONG, 'v')}. Mardia's joint kurtosis "
        f"(p = {stats.combine_pvalues(_of(table, _ADAM_LONG, 'joint kurtosis p')).pvalue:.2g} over "
        "networks) says less than Henze & Zirkler's distance "
        f"(p = {_joint_p(table, _ADAM_LONG):.2g}), which sees every departure.",
        "Under Adam uu - vv, which gradient flow keeps with any nonlinearity, drifts by "
        f"{spread(_of(closeness, _ADAM_LONG, 'drift'))}; at the published rate of descent by "
        f"{spread(_of(closeness, _SAME, 'drift'))}.",
    ]
    gone = int(np.isfinite(left).sum())
    if gone:
        said.append(
            f"Descent in overlap space leaves the overlaps that networks can have in {gone} of "
            f"{len(left)} networks."
        )
    slow = closeness[~closeness["learned"]]
    if len(slow):
        listed = ", ".join(
            f"{len(rows)} of {int((closeness['course'] == course).sum())} at {course}"
            for course, rows in slow.groupby("course", sort=False)
        )
        said.append(f"Networks that did not learn within the epochs: {listed}.")
    return tuple(said)


def _reproduce(
    *,
    seed: int = 0,
    n_jobs: int = 1,
    scale: float = 1.0,
    folder: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Reproduced:
    """Rebuild it; see `predictlearn.published.reproduce`."""
    protocols = [load(name, scale) for name in RESULT.protocols]
    results = []
    for protocol in protocols:
        networks = protocol.spec.cohort.networks
        announce(progress, f"{protocol.name}: {networks} network(s) of 600 neurons")
        results.append(run(protocol, seed=seed, n_jobs=n_jobs, folder=folder))
    runs = Runs(protocols[0], results[0], protocols[1], results[1])
    announce(progress, "descent in overlap space, Gaussianity")
    courses = [direct_course(runs, k) for k in range(runs.result.n_networks)]
    frames, left = [frame for frame, _ in courses], np.array([epoch for _, epoch in courses])
    names = list(runs.result.overlap_names)
    direct = pd.DataFrame(
        {
            "end": [
                np.abs(frame[names].iloc[-1] - runs.seen(_SAME, k)[names].iloc[-1]).max()
                for k, frame in enumerate(frames)
            ],
            "left": left,
        }
    )
    table, closeness = gaussianity_table(runs), closeness_table(runs, seed)
    announce(progress, "figures")
    return Reproduced(
        {
            "learning": learning_figure(runs, frames),
            "loadings": loadings_figure(runs),
            "steps": steps_figure(runs, table, closeness),
        },
        numbers_table(
            [
                *_closeness_rows(closeness, direct, left, scale),
                *_gaussian_rows(table, runs.end(_SAME, 0).n_neurons, scale),
            ]
        ),
        _findings(runs, table, closeness, left) if scale >= 1.0 else (),
        {"gaussianity": table, "closeness": closeness, "direct": direct},
    )


RESULT = Published(
    name="flip-flop",
    title="Flip-flop: where the Gaussian theory holds",
    claim="With the erf nonlinearity the theory follows a network of 600 neurons that learns the "
    "flip-flop by small steps of gradient descent, and its loadings stay near Gaussian. Under "
    "large steps and under Adam they do so less, and theory and network part.",
    protocols=("published-flip-flop", "published-flip-flop-small-steps"),
    run=_reproduce,
    takes="5 min on two cores",
)
