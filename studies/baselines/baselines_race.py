"""How long backpropagation takes to the held-out R2 of `LowRankRNN`, in one process."""

from __future__ import annotations

import numpy as np
from baselines_data import Set
from baselines_methods import Ours, backprop

RATES = (3e-3, 1e-2, 3e-2, 1e-1)
WITHIN = 0.005  # of R2: what counts as the same
PATIENCE = 200  # steps without a gain on validation trials, after which training ends
FITS = 3  # of ours, the first of them compiles or loads compiled code


def race(data: Set, rank: int, parts, r2, limit: float) -> tuple[list[dict], list[dict]]:
    """Fit ours, then train by backpropagation at several learning rates until it is as good.

    Both get the same trials, rank, structure and settings. Held-out R2 of backpropagation is looked
    at every ten steps, and only its own steps are counted, which favours it: a real run cannot stop
    by the held-out trials. So it is also trained as one would, a fifth of the training trials
    saying when to stop.
    """
    y, x = data.activity, data.inputs
    train, test, learn, check = parts
    fits = [Ours(rank, data.settings, data.dt).fit(y[train], x[train]) for _ in range(FITS)]
    ours = r2(y[test], fits[0].open_loop(x[test]), y[train])
    seconds = min(fit.seconds for fit in fits[1:])
    once = [Ours(rank, data.settings, data.dt, n_starts=1) for _ in range(FITS)]
    once = [fit.fit(y[train], x[train]) for fit in once]
    rows, curves = [], []
    for rate in RATES:
        model = backprop(data, rank, poisson=False)
        model.learning = rate
        model.fit(
            y[train],
            x[train],
            held_out=(y[test], x[test]),
            score=lambda y, p: r2(y, p, data.activity[train]),
            patience=3000,
            limit=limit,
            enough=ours - WITHIN,
        )
        steps, spent, value = (np.array(column) for column in zip(*model.trace, strict=True))
        value = np.where(np.isfinite(value), value, -np.inf)
        best = int(value.argmax())
        reached = bool(value[best] >= ours - WITHIN)
        honest = backprop(data, rank, poisson=False)
        honest.learning = rate
        honest.fit(
            y[learn],
            x[learn],
            held_out=(y[check], x[check]),
            score=lambda y, p: r2(y, p, data.activity[learn]),
            patience=PATIENCE,
            limit=limit,
        )
        rows.append(
            {
                "set": data.name,
                "rank": rank,
                "learning rate": rate,
                "r2 ours": ours,
                "seconds ours": seconds,
                "r2 ours, one start": r2(y[test], once[0].open_loop(x[test]), y[train]),
                "seconds ours, one start": min(fit.seconds for fit in once),
                "r2 backpropagation": value[best],
                "reached": reached,
                "steps": steps[best],
                "seconds backpropagation": spent[best],
                "seconds in all": spent[-1],
                "seconds compiling": model.compile_seconds,
                "ratio": spent[best] / seconds,
                "r2 stopped by validation": r2(y[test], honest.open_loop(x[test]), y[train]),
                "seconds stopped by validation": honest.seconds,
                "ratio stopped by validation": honest.seconds / seconds,
            }
        )
        keep = np.unique(np.geomspace(1, len(steps), 60).astype(int)) - 1
        curves += [
            {"set": data.name, "learning rate": rate, "seconds": spent[i], "r2": value[i]}
            for i in keep
        ]
        print(rows[-1], flush=True)  # noqa: T201
    return rows, curves
