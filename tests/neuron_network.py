"""N neurons whose synapses learn, by plain numpy: what learning in the span is checked against.

One update a bin, dense matrices, gradients by running back over the bins. Nothing here comes from
the package.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np


def open_world(n_in, n_out):
    """A world that is the output itself, and that the input does not see."""
    return SimpleNamespace(
        step=np.zeros((n_out, n_out)),
        push=np.eye(n_out),
        seen=np.zeros((n_in, n_out)),
        read=np.eye(n_out),
        offset=np.zeros(n_out),
        start=np.zeros(n_out),
    )


LINEAR = (lambda h: h, np.ones_like)


def run(m, w, z, world, x, a, phi=LINEAR, xi=None, pushes=None):
    """Return currents, rates (bins + 1, trials, N), inputs as seen, and what is read (bins, ...).

    xi, (bins, trials, N), is noise in the input of the neurons; pushes, (trials, bins, state), are
    added to the state of the world as it goes.
    """
    n_trials, n_steps, _ = x.shape
    h, state = np.zeros((n_trials, len(m))), np.tile(world.start, (n_trials, 1))
    currents, activity, seen, read = [], [phi[0](h)], [], []
    for t in range(n_steps):
        u = x[:, t] + state @ world.seen.T
        h = (1 - a) * h + a * (activity[t] @ w.T + u @ m.T + (0 if xi is None else xi[t]))
        r = phi[0](h)
        state = state @ world.step.T + (r @ z / len(m)) @ world.push.T + world.offset
        if pushes is not None:
            state = state + pushes[:, t]
        currents.append(h)
        activity.append(r)
        seen.append(u)
        read.append(state @ world.read.T)
    return currents, activity, seen, read


def losses_of(read, targets, weights):
    """Return the loss of every trial."""
    return sum(
        np.sum(weights[:, t] * (read[t] - targets[:, t]) ** 2, axis=1) for t in range(len(read))
    )


def directions(m, w, z, b, world, x, targets, weights, a, rule, phi=LINEAR, pushes=None):
    """Return the loss and dL/dM, dL/dW, dL/dZ, or what a rule takes for them.

    rule: "through" and "given" for gradients through the loop or not, "fa", "rflo".
    """
    n, n_steps = len(m), x.shape[1]
    currents, activity, seen, read = run(m, w, z, world, x, a, phi, pushes=pushes)
    errors = [2 * weights[:, t] * (read[t] - targets[:, t]) for t in range(n_steps)]
    loss = np.sum(losses_of(read, targets, weights))
    back = b if rule in ("fa", "rflo") else z
    q = np.zeros_like(activity[0])
    of_world = np.zeros((len(x), len(world.step)))
    of_input = np.zeros_like(of_world)
    d_m, d_w, d_z = np.zeros_like(m), np.zeros_like(w), np.zeros_like(z)
    for t in range(n_steps - 1, -1, -1):
        of_world = errors[t] @ world.read + of_world @ world.step + of_input
        of_output = of_world @ world.push
        d_z += activity[t + 1].T @ of_output / n
        recurrent = 0 if rule == "rflo" else a * q @ w
        q = (1 - a) * q + phi[1](currents[t]) * (recurrent + of_output @ back.T / n)
        d_m += a * q.T @ seen[t]
        d_w += a * q.T @ activity[t]
        of_input = a * q @ m @ world.seen if rule == "through" else np.zeros_like(of_world)
    return loss, d_m, d_w, d_z


def perturbed(m, w, z, world, x, targets, weights, a, sigma, rng, phi=LINEAR):
    """The same by node perturbation, synapse by synapse: noise, reward and activity before it."""
    n, (n_trials, n_steps, _) = len(m), x.shape
    xi = sigma * rng.standard_normal((n_steps, n_trials, n))
    _, activity, seen, read = run(m, w, z, world, x, a, phi)
    noisy = run(m, w, z, world, x, a, phi, xi)[3]
    before = losses_of(read, targets, weights)
    rewards = before - losses_of(noisy, targets, weights)
    d_m, d_w = np.zeros_like(m), np.zeros_like(w)
    for p in range(n_trials):
        for t in range(n_steps):
            kick = -rewards[p] * xi[t, p] / sigma**2
            d_m += np.outer(kick, seen[t][p])
            d_w += np.outer(kick, activity[t][p])
    d_z = directions(m, w, z, None, world, x, targets, weights, a, "given", phi)[3]
    return np.sum(before), d_m, d_w, d_z


def learn_synapses(
    network, world, x, targets, weights, a, rate, epochs, rule="through",
    momentum=0.0, decay=0.0, rates=(1.0, 1.0, 1.0), phi=LINEAR, sigma=None, rng=None, pushes=None,
):  # fmt: skip
    """Return the losses and M, W, Z at the end; N rate for M and Z, rate for W."""
    m, w, z = network.m.copy(), network.w.copy(), network.z.copy()
    n, speed = len(m), [0.0, 0.0, 0.0]
    losses = []
    for epoch in range(epochs + 1):
        if sigma is None:
            loss, d_m, d_w, d_z = directions(
                m, w, z, network.feedback, world, x, targets, weights, a, rule, phi, pushes
            )
        else:
            loss, d_m, d_w, d_z = perturbed(m, w, z, world, x, targets, weights, a, sigma, rng, phi)
        losses.append(loss)
        if epoch == epochs:
            break
        for k, (part, slope) in enumerate(zip((m, w, z), (n * d_m, d_w, n * d_z), strict=True)):
            speed[k] = momentum * speed[k] - rates[k] * rate * (slope + decay * part)
            part += speed[k]
    return np.array(losses), m, w, z


def factors_after(
    loadings, b, world, x, targets, weights, a, rate, epochs, rule, rates=(1.0, 1.0, 1.0, 1.0),
    momentum=0.0, phi=LINEAR, sigma=None, rng=None,
):  # fmt: skip
    """Return [M, U, V, Z] at the end, W = U V' / N, and the losses."""
    parts = [np.array(p) for p in (loadings.m, loadings.u, loadings.v, loadings.z)]
    n, speed = len(parts[0]), [0.0] * 4
    losses = []
    for epoch in range(epochs + 1):
        m, u, v, z = parts
        w = u @ v.T / n
        if sigma is None:
            found = directions(m, w, z, b, world, x, targets, weights, a, rule, phi)
        else:
            found = perturbed(m, w, z, world, x, targets, weights, a, sigma, rng, phi)
        loss, d_m, d_w, d_z = found
        losses.append(loss)
        if epoch == epochs:
            break
        slopes = (n * d_m, d_w @ v, d_w.T @ u, n * d_z)
        for k, (part, slope) in enumerate(zip(parts, slopes, strict=True)):
            speed[k] = momentum * speed[k] - rates[k] * rate * slope
            part += speed[k]
    return parts, np.array(losses)


def learn_factors(
    loadings, b, world, x, targets, weights, a, rate, epochs, rule="through", momentum=0.0,
    phi=LINEAR, sigma=None, rng=None,
):  # fmt: skip
    """Return the losses and the overlaps at the end, W = U V' / N."""
    parts, losses = factors_after(
        loadings, b, world, x, targets, weights, a, rate, epochs, rule, momentum=momentum,
        phi=phi, sigma=sigma, rng=rng,
    )  # fmt: skip
    theta = np.hstack(parts)
    return losses, theta.T @ theta / len(theta)
