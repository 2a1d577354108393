"""A low-rank network trained by backpropagation: the third baseline of baselines.md.

h(t+1) = (1-a) h(t) + a [u v^T phi(h(t)) / N + m x(t - latency)], a = dt/tau, activity = offset +
gain phi(h) (or h, or counts of rate exp(offset + h)). m, u, v and the offsets of all neurons are
free, and tau and the latency where the compared fit has them free. Adam (optax), all trials in one
batch, single precision, compiled by jax; compilation is left out of all times.
"""

from __future__ import annotations

import time
from functools import lru_cache, partial

import numpy as np

CHUNK = 10  # steps between two looks at the held-out trials
LONGEST = 6  # bins; the longest latency


@lru_cache(maxsize=64)
def _compiled(rank, n_in, n, erf, rate, gain, dt, tau, fit_tau, fit_latency, poisson):
    """Return start, prediction and ``CHUNK`` compiled steps of Adam."""
    import jax
    import jax.numpy as jnp
    import optax

    def phi(h):
        return jax.scipy.special.erf(jnp.sqrt(jnp.pi) / 2 * h) if erf else h

    def start(seed, mean):
        rng = np.random.default_rng(seed)
        free = {
            "m": 0.3 * rng.normal(size=(n, n_in)),
            "u": rng.normal(size=(n, rank)),
            "v": rng.normal(size=(n, rank)),
            "offset": np.log(np.maximum(mean, 0.05)) if poisson else mean,
        }
        if fit_tau:
            free["log_tau"] = np.log(tau)
        if fit_latency:
            free["latency"] = np.array(2.0)
        return {name: jnp.asarray(value, dtype=jnp.float32) for name, value in free.items()}

    def forward(free, x):
        a = jnp.minimum(dt / jnp.exp(free["log_tau"]), 1.0) if fit_tau else dt / tau
        if fit_latency:
            late = jnp.clip(free["latency"], 0.0, LONGEST - 1.0)
            shares = [jnp.maximum(1 - jnp.abs(late - j), 0.0) for j in range(LONGEST)]
            steps = [jnp.pad(x, ((0, 0), (j, 0), (0, 0)))[:, : x.shape[1]] for j in range(LONGEST)]
            x = sum(share * step for share, step in zip(shares, steps, strict=True))
        drive = jnp.swapaxes(x @ free["m"].T, 0, 1)

        def update(h, now):
            h = (1 - a) * h + a * (phi(h) @ free["v"] @ free["u"].T / n + now)
            return h, h

        _, h = jax.lax.scan(update, jnp.zeros(drive.shape[1:], drive.dtype), drive)
        shown = gain * (phi(h) if rate else h)
        shown = jnp.swapaxes(shown, 0, 1) + free["offset"]
        return jnp.exp(shown) if poisson else shown

    def loss(free, y, x, seen):
        out = forward(free, x)
        if poisson:
            return ((out - y * jnp.log(out + 1e-12)) * seen).mean()
        return ((out - y) ** 2 * seen).mean()

    adam = optax.scale_by_adam()

    @jax.jit
    def chunk(free, state, learning, y, x, seen):
        def one(carry, _):
            free, state = carry
            value, slope = jax.value_and_grad(loss)(free, y, x, seen)
            change, state = adam.update(slope, state)
            change = jax.tree.map(lambda c: -learning * c, change)
            return (optax.apply_updates(free, change), state), value

        (free, state), values = jax.lax.scan(one, (free, state), None, length=CHUNK)
        return free, state, values[-1]

    return start, jax.jit(forward), chunk, adam.init


class BackpropRNN:
    """The network, trained for ``n_steps``, or until held-out trials stop to gain."""

    def __init__(
        self, rank, settings, dt, *, poisson=False, learning=1e-2, n_steps=None, max_steps=10000
    ) -> None:
        self.rank, self.settings, self.dt = rank, settings, dt
        self.poisson, self.learning = poisson, learning
        self.n_steps, self.max_steps = n_steps, max_steps

    def _parts(self, n_in, n):
        s = self.settings
        fit_tau = s["tau"] == "fit"
        return _compiled(
            self.rank,
            n_in,
            n,
            s.get("nonlinearity", "linear") == "erf",
            s.get("observed", "rate") == "rate",
            1.0 if self.poisson else float(s.get("gain", 1.0)),
            self.dt,
            3 * self.dt if fit_tau else float(s["tau"]),
            fit_tau,
            s.get("latency") == "fit",
            self.poisson,
        )

    def fit(
        self, y, x, held_out=None, patience=400, score=None, seed=0, limit=np.inf, enough=np.inf
    ):
        """Train; with ``held_out`` (y, x) keep the best step there and stop after ``patience``.

        ``score`` (activity, prediction) is what is followed on the held-out trials, in ``trace``
        as rows of step, seconds of training, score. Training ends early after ``limit`` seconds,
        or when the score is ``enough``.
        """
        import jax
        import jax.numpy as jnp

        start, forward, chunk, init = self._parts(x.shape[2], y.shape[2])
        seen = ~np.isnan(y)
        now = partial(jnp.asarray, dtype=jnp.float32)
        data = now(np.where(seen, y, 0.0)), now(x), now(seen)
        free = start(seed, np.nanmean(y, axis=(0, 1)))
        state = init(free)
        rate = now(self.learning)
        began = time.process_time()
        jax.block_until_ready(chunk(free, state, rate, *data))  # compile before the clock starts
        self.compile_seconds = time.process_time() - began
        best, self.trace = (-np.inf, 0, free), []
        steps, spent = 0, 0.0
        most = self.max_steps if self.n_steps is None else self.n_steps
        while steps < most and spent < limit:
            began = time.process_time()
            free, state, value = chunk(free, state, rate, *data)
            value.block_until_ready()
            spent += time.process_time() - began
            steps += CHUNK
            if held_out is None:
                continue
            value = score(held_out[0], np.asarray(forward(free, now(held_out[1]))))
            self.trace.append((steps, spent, value))
            if value > best[0]:
                best = value, steps, free
            if steps - best[1] >= patience or value >= enough:
                break
        self.free = free if held_out is None else best[2]
        self.best_steps, self.seconds = (steps if held_out is None else best[1]), spent
        self._forward = forward
        self.n_parameters = sum(int(np.size(value)) for value in self.free.values())
        return self

    def open_loop(self, x):
        """Predict activity from inputs alone."""
        return np.asarray(self._forward(self.free, np.asarray(x, dtype=np.float32)), dtype=float)
