"""A network that learns and is recorded, in plain numpy: nothing here is of the package.

Linear neurons of rank one, plain gradient descent on all loadings by the adjoint of Euler steps,
and spike counts or currents of some of the neurons in sessions along the way.
"""

from __future__ import annotations

import numpy as np

START = np.array(
    [[1, 0.2, 0.3, 0.1], [0.2, 1.2, 0.2, 0.2], [0.3, 0.2, 1.3, 0.2], [0.1, 0.2, 0.2, 1]]
)
PAIRS = ("mm", "mu", "vm", "zm", "uu", "vu", "zu", "vv", "zv", "zz")


def simulate(
    seed=0, n=200, recorded=100, same=50, eta=2e-3, gap=40, n_sessions=12, dt=0.1, n_bins=60,
    fine=1, gain=0.25, observed="counts", firing=5.0, noise=0.3, repeats=10,
):  # fmt: skip
    """Return the task, the sessions and the overlaps at the first.

    With fine = 1 a bin is one Euler step and what is recorded is read after it. With more it is a
    network in continuous time: `fine` steps of fourth order a bin, counts summed over the bin and
    currents and outputs averaged over it; learning then takes Euler steps of dt / fine. tau is 1.
    """
    rng, a = np.random.default_rng(seed), dt / fine
    g = rng.normal(size=(n, 4))
    whole = (g @ np.linalg.inv(np.linalg.cholesky(g.T @ g / n)).T) @ np.linalg.cholesky(START).T
    m, u, v, z = (whole[:, [k]].copy() for k in range(4))
    amplitudes = 3 * np.array([-1.0, -0.5, 0.5, 1.0])
    t = np.arange(n_bins * fine) * a
    pulse = ((t >= 0.5 - 1e-9) & (t < 1.0 - 1e-9)).astype(float)
    after = t >= 1.0 - 1e-9
    x = amplitudes[:, None, None] * pulse[:, None]
    target = 0.5 * amplitudes[:, None, None] * (after * np.exp(-0.3 * (t - 1.0)))[:, None]
    weights = np.full(x.shape, a / 4)

    def move(h, inputs):
        return (h @ v / n) @ u.T + inputs @ m.T - h

    def run(inputs):
        h = np.zeros((len(inputs), inputs.shape[1] + 1, n))
        for k in range(inputs.shape[1]):
            h[:, k + 1] = h[:, k] + a * move(h[:, k], inputs[:, k])
        return h

    def steps(inputs):
        # means over the fine steps of every bin: Runge and Kutta, and Simpson's rule
        h, out = np.zeros((len(inputs), n)), []
        for k in range(inputs.shape[1]):
            for _ in range(fine):
                one = move(h, inputs[:, k])
                two = move(h + a / 2 * one, inputs[:, k])
                three = move(h + a / 2 * two, inputs[:, k])
                four = move(h + a * three, inputs[:, k])
                new = h + a / 6 * (one + 2 * two + 2 * three + four)
                out.append((h + new) / 2 - a / 12 * (move(new, inputs[:, k]) - one))
                h = new
        return np.stack(out, axis=1)

    def binned(values):
        return values.reshape(len(values), n_bins, fine, -1)

    sessions, truth = [], {}
    always = rng.choice(n, same, replace=False)
    for e in range(gap * (n_sessions - 1) + 1):
        h = run(x)
        error = 2 * weights * (h[:, 1:] @ z / n - target)
        if e % gap == 0:
            s = np.hstack([m, u, v, z]).T @ np.hstack([m, u, v, z]) / n
            truth = truth or {p: s["muvz".index(p[0]), "muvz".index(p[1])] for p in PAIRS}
            rest = np.setdiff1d(np.arange(n), always)
            ids = np.r_[always, rng.choice(rest, recorded - same, replace=False)]
            shown = np.repeat(x[:, ::fine], repeats, 0)
            shown = shown * rng.uniform(0.5, 1.5, (len(shown), 1, 1))
            hs = run(shown)[:, 1:] if fine == 1 else steps(shown)
            offset = np.log(firing * dt) + 0.2 * rng.normal(size=n)
            if observed == "counts":
                rate = np.exp(offset + gain * hs) / fine
                seen = binned(rng.poisson(rate)).sum(axis=2)[..., ids].astype(float)
            else:
                seen = binned(hs).mean(axis=2)[..., ids]
                seen = seen + noise * rng.normal(size=seen.shape)
            outputs = binned(hs @ z / n).mean(axis=2)
            outputs = outputs + 0.02 * rng.normal(size=outputs.shape)
            sessions.append((seen, shown, outputs, ids))
        back = np.zeros((len(x), n))
        by_m, by_u, by_v, by_z = (np.zeros_like(w) for w in (m, u, v, z))
        for k in range(x.shape[1] - 1, -1, -1):
            back = error[:, k] @ z.T / n + (1 - a) * back + a * (back @ u / n) @ v.T
            by_z += h[:, k + 1].T @ error[:, k] / n
            by_m += a * back.T @ x[:, k]
            by_u += a * back.T @ (h[:, k] @ v) / n
            by_v += a * h[:, k].T @ (back @ u) / n
        m, u, v, z = (w - eta * n * d for w, d in ((m, by_m), (u, by_u), (v, by_v), (z, by_z)))
    return {"inputs": x, "targets": target, "weights": weights, "dt": a}, sessions, truth
