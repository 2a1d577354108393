"""Closures that were tried and not taken up: the last section of studies/theory/closure.md.

    python studies/theory/closure_attempts.py --cache /tmp/closure-levels

Needs the courses of closure_levels.py, run with the same cache. One input, rank one,
one output, erf. About 5 minutes on one core.

- All terms of first order in the fourth cumulants, where `learn_fourth_order` leaves out what the
  cumulants add to the force that makes them.
- A mixture of Gaussians, each with a mean and overlaps of its own that follow the same equations.
- Particles on the vertices of the 600-cell, a spherical rule of degree 11.
- Loadings held to polynomials of their first values.
"""

from __future__ import annotations

import argparse
import itertools
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from closure_levels import CASES, REFERENCE, START, Courses, say, summary
from numba import njit
from scipy import special

import predictlearn as pl
from predictlearn.network.kernels import network_loss_and_gradient
from predictlearn.theory.activity import Batch
from predictlearn.theory.nonlinearity import network_phi
from predictlearn.theory.overlaps import Loadings

HALF_PI = math.pi / 2


@njit(error_model="numpy")
def gain(s, k):
    """Return g at the current of k."""
    delta = s[0, 0] * k[0] * k[0] + 2 * s[0, 1] * k[0] * k[1] + s[1, 1] * k[1] * k[1]
    return 1.0 / math.sqrt(1.0 + HALF_PI * delta)


@njit(error_model="numpy")
def full_first_order(s, kappa, a, km, targets, weights, first, move, force):
    """Fill the derivative by S, dS/dt without its linear part, and dkappa/dt without it."""
    n_steps, _, n_trials = km.shape
    ku, e, k3 = np.empty(n_steps), np.empty(n_steps), np.empty((n_steps, 4))
    k, q, sk, sq = np.zeros(4), np.zeros(4), np.empty(4), np.empty(4)
    k2, kq2, kq = np.empty((4, 4)), np.empty((4, 4)), np.empty(4)
    first[:], move[:], force[:] = 0.0, 0.0, 0.0
    total = 0.0
    for p in range(n_trials):
        ku[0] = 0.0
        for t in range(n_steps):
            k[0], k[1] = km[t, 0, p], ku[t]
            g = gain(s, k)
            g3 = -HALF_PI * g**3
            g5 = 3.0 * HALF_PI**2 * g**5
            for i in range(4):
                k3[t, i] = 0.0
                for b, c, d in np.ndindex((2, 2, 2)):
                    k3[t, i] += kappa[i, b, c, d] * k[b] * k[c] * k[d]
            k4 = k3[t, 0] * k[0] + k3[t, 1] * k[1]
            straight = g + g5 * k4 / 24
            r_v = (s[2, 0] * k[0] + s[2, 1] * k[1]) * straight + k3[t, 2] * g3 / 6
            r_z = (s[3, 0] * k[0] + s[3, 1] * k[1]) * straight + k3[t, 3] * g3 / 6
            if t < n_steps - 1:
                ku[t + 1] = (1 - a) * ku[t] + a * r_v
            error = r_z - targets[t, 0, p]
            total += weights[t, 0, p] * error**2
            e[t] = 2 * weights[t, 0, p] * error
        lam = 0.0
        for t in range(n_steps - 1, -1, -1):
            k[0], k[1], q[2], q[3] = km[t, 0, p], ku[t], a * lam, e[t]
            g = gain(s, k)
            ratio = -HALF_PI * g * g
            g3 = ratio * g
            g5 = 3 * ratio * g3
            g7 = 5 * ratio * g5
            g9 = 7 * ratio * g7
            for i in range(4):
                sk[i] = s[i, 0] * k[0] + s[i, 1] * k[1]
                sq[i] = s[i, 2] * q[2] + s[i, 3] * q[3]
            x = q[2] * sk[2] + q[3] * sk[3]
            third = k3[t]
            k4 = third[0] * k[0] + third[1] * k[1]
            k3q = third[2] * q[2] + third[3] * q[3]
            for i, j in np.ndindex((4, 4)):
                k2[i, j] = kq2[i, j] = 0.0
                for c in range(2):
                    for d in range(4):
                        k2[i, j] += kappa[i, j, c, d] * k[c] * k[d]
                        kq2[i, j] += kappa[i, j, c, d] * k[c] * q[d]
            for i in range(4):
                kq[i] = k2[i, 2] * q[2] + k2[i, 3] * q[3]
            lam = (1 - a) * lam + (
                sq[1] * (g + g5 * k4 / 24)
                + x * ((g3 + g7 * k4 / 24) * sk[1] + g5 * third[1] / 6)
                + kq[1] * g3 / 2
                + k3q * g5 * sk[1] / 6
            )
            both = x * g3 + (x * g7 * k4 + 4 * g5 * k3q) / 24
            straight = g + g5 * k4 / 24
            c1 = x * g5 + (x * g9 * k4 + 4 * g7 * k3q) / 24
            c2 = g3 + g7 * k4 / 24
            for i, j in np.ndindex((4, 4)):
                first[i, j] += both * k[i] * k[j] + straight * (q[i] * k[j] + k[i] * q[j])
                move[i, j] += (
                    x * g5 * third[i] * k[j] + g3 * (third[i] * q[j] + 3 * kq[i] * k[j])
                ) / 6
            for h, i, j in np.ndindex((4, 4, 4)):
                sss = sk[h] * sk[i] * sk[j]
                ssq = sq[h] * sk[i] * sk[j] + sk[h] * sq[i] * sk[j] + sk[h] * sk[i] * sq[j]
                u = u_q = u_s = w = w_q = w_s = 0.0
                for f, m, n in ((h, i, j), (i, h, j), (j, h, i)):
                    u += third[f] * sk[m] * sk[n]
                    u_q += kq[f] * sk[m] * sk[n]
                    u_s += third[f] * (sq[m] * sk[n] + sk[m] * sq[n])
                    w += k2[m, n] * sk[f]
                    w_q += kq2[m, n] * sk[f]
                    w_s += k2[m, n] * sq[f]
                along_k = c1 * sss + c2 * ssq + (x * g7 * u + g5 * (3 * u_q + u_s)) / 6
                along_k += (x * g5 * w + g3 * (2 * w_q + w_s)) / 2
                along_q = c2 * sss + g5 * u / 6 + g3 * w / 2
                for d in range(4):
                    force[h, i, j, d] += along_k * k[d] + along_q * q[d]
    return total


def learn_full_first_order(case: str) -> SimpleNamespace:
    """Learn with every term of first order in the cumulants."""
    task, rate, epochs = CASES[case]
    ready = Batch(task.sample(np.random.default_rng(0)), "erf", 1.0)
    s, kappa = START.matrix.copy(), np.zeros((4,) * 4)
    first, move, force = np.empty((4, 4)), np.empty((4, 4)), np.empty((4,) * 4)
    kept, losses = np.empty((epochs + 1, 4, 4)), np.empty(epochs + 1)
    for epoch in range(epochs + 1):
        kept[epoch] = s
        losses[epoch] = full_first_order(
            s, kappa, ready.a, ready.k_m, ready.targets, ready.weights, first, move, force
        )
        step = np.eye(4) - rate * first
        s = step.T @ s @ step - rate * (move + move.T)
        change = np.einsum("abce,ed->abcd", kappa, first) + force
        kappa = kappa - rate * sum(np.moveaxis(change, 3, i) for i in range(4))
    return course(kept, losses)


@njit(error_model="numpy")
def patches(mean, spread, share, a, km, targets, weights, pull, first):
    """Fill the gradient by the means, (4, K), and the derivative by the overlaps, (4, 4, K)."""
    n_steps, _, n_trials = km.shape
    n = len(share)
    ku, e = np.empty(n_steps), np.empty(n_steps)
    rate, edge, gain, h = np.empty((4, n_steps, n))
    pull[:], first[:] = 0.0, 0.0
    total = 0.0
    for p in range(n_trials):
        ku[0] = 0.0
        for t in range(n_steps):
            k, u = km[t, 0, p], ku[t]
            r_v = r_z = 0.0
            for i in range(n):
                delta = spread[0, 0, i] * k * k + 2 * spread[0, 1, i] * k * u
                delta += spread[1, 1, i] * u * u
                g = 1.0 / math.sqrt(1.0 + HALF_PI * delta)
                h[t, i] = mean[0, i] * k + mean[1, i] * u
                rate[t, i] = math.erf(math.sqrt(math.pi) / 2 * h[t, i] * g)
                gain[t, i] = g
                edge[t, i] = g * math.exp(-math.pi / 4 * (h[t, i] * g) ** 2)
                r_v += share[i] * (
                    mean[2, i] * rate[t, i]
                    + (spread[2, 0, i] * k + spread[2, 1, i] * u) * edge[t, i]
                )
                r_z += share[i] * (
                    mean[3, i] * rate[t, i]
                    + (spread[3, 0, i] * k + spread[3, 1, i] * u) * edge[t, i]
                )
            if t < n_steps - 1:
                ku[t + 1] = (1 - a) * u + a * r_v
            error = r_z - targets[t, 0, p]
            total += weights[t, 0, p] * error**2
            e[t] = 2 * weights[t, 0, p] * error
        lam = 0.0
        for t in range(n_steps - 1, -1, -1):
            k, u, q_v, q_z = km[t, 0, p], ku[t], a * lam, e[t]
            back = 0.0
            for i in range(n):
                q_u = spread[2, 1, i] * q_v + spread[3, 1, i] * q_z
                x = (spread[2, 0, i] * q_v + spread[3, 0, i] * q_z) * k + q_u * u
                y = q_v * mean[2, i] + q_z * mean[3, i]
                c = -HALF_PI * gain[t, i] ** 2
                one, ch = edge[t, i], c * h[t, i]
                along = y * one + x * one * ch
                both = y * one * ch + x * one * (ch * ch + c)
                pull[0, i] += k * along
                pull[1, i] += u * along
                pull[2, i] += q_v * rate[t, i]
                pull[3, i] += q_z * rate[t, i]
                first[0, 0, i] += both * k * k
                first[0, 1, i] += both * k * u
                first[1, 1, i] += both * u * u
                first[2, 0, i] += one * q_v * k
                first[2, 1, i] += one * q_v * u
                first[3, 0, i] += one * q_z * k
                first[3, 1, i] += one * q_z * u
                back += share[i] * (
                    along * mean[1, i]
                    + q_u * one
                    + both * (spread[0, 1, i] * k + spread[1, 1, i] * u)
                )
            lam = (1 - a) * lam + back
    first[1, 0] = first[0, 1]
    for i, j in ((0, 2), (0, 3), (1, 2), (1, 3)):
        first[i, j] = first[j, i]
    return total


def learn_patches(case: str, within: float) -> SimpleNamespace:
    """Learn with 24 Gaussians of variance `within`, their means on two 24-cells."""
    task, rate, epochs = CASES[case]
    ready = Batch(task.sample(np.random.default_rng(0)), "erf", 1.0)
    root = np.linalg.cholesky(START.matrix).T
    white, share = spherical(cell_24(), 2)
    mean = np.ascontiguousarray((math.sqrt(1 - within) * white @ root).T)
    n = len(share)
    spread = np.repeat((within * START.matrix)[:, :, None], n, axis=2)
    pull, first = np.empty((4, n)), np.empty((4, 4, n))
    kept, losses = np.empty((epochs + 1, 4, 4)), np.empty(epochs + 1)
    for epoch in range(epochs + 1):
        kept[epoch] = (mean * share) @ mean.T + (spread * share).sum(axis=2)
        losses[epoch] = patches(
            mean, spread, share, ready.a, ready.k_m, ready.targets, ready.weights, pull, first
        )
        mean = mean - rate * pull
        step = np.eye(4)[:, :, None] - rate * first
        spread = np.ascontiguousarray(np.einsum("bak,bck,cdk->adk", step, spread, step))
    return course(kept, losses)


def cell_24() -> np.ndarray:
    """Return the 24 vertices of the 24-cell."""
    axes = np.concatenate([np.eye(4), -np.eye(4)])
    return np.concatenate([axes, np.array(list(itertools.product((0.5, -0.5), repeat=4)))])


def cell_600() -> np.ndarray:
    """Return the 120 vertices of the 600-cell."""
    golden = (1 + math.sqrt(5)) / 2
    rows = [cell_24()]
    for order in itertools.permutations(range(4)):
        turns = sum(order[i] > order[j] for i, j in itertools.combinations(range(4), 2))
        if turns % 2 == 0:
            for signs in itertools.product((0.5, -0.5), repeat=3):
                row = np.zeros(4)
                row[list(order[:3])] = np.array(signs) * (golden, 1.0, 1 / golden)
                rows.append(row[None])
    return np.concatenate(rows)


def spherical(vertices: np.ndarray, radii: int) -> tuple[np.ndarray, np.ndarray]:
    """Return one of each pair x, -x of a Gaussian rule on scaled copies of vertices; weights."""
    x, w = special.roots_genlaguerre(radii, 1.0)
    lead = np.array([row[np.flatnonzero(np.abs(row) > 1e-9)[0]] for row in vertices])
    half = vertices[lead > 0]
    white = np.concatenate([math.sqrt(2 * r) * half for r in x])
    return white, np.repeat(w / w.sum() / len(half), len(half))


def learn_spherical(case: str, radii: int) -> pl.Trajectory:
    """Learn the mean field with particles on so many 600-cells, turned at random."""
    task, rate, epochs = CASES[case]
    white, weights = spherical(cell_600(), radii)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))
    theta = white @ turn @ np.linalg.cholesky(START.matrix).T
    particles = pl.Particles(Loadings(*(theta[:, [i]] for i in range(4))), weights)
    return pl.learn_mean_field(particles, task, pl.GradientDescent(rate), epochs)


def hermite_basis(white: np.ndarray, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the odd Hermite polynomials of white variables, (n, polynomials), and degrees."""
    powers = [np.ones_like(white), white]
    for n in range(2, degree + 1):
        powers.append(white * powers[-1] - (n - 1) * powers[-2])
    columns, degrees = [], []
    for index in itertools.product(range(degree + 1), repeat=white.shape[1]):
        if sum(index) <= degree and sum(index) % 2 == 1:
            scale = math.prod(math.sqrt(math.factorial(i)) for i in index)
            columns.append(np.prod([powers[i][:, j] for j, i in enumerate(index)], 0) / scale)
            degrees.append(sum(index))
    return np.array(columns).T, np.array(degrees)


def projected(case: str, degree: int, points: int = 8) -> pl.Trajectory:
    """Learn with loadings held to polynomials of that degree in their first values."""
    task, rate, epochs = CASES[case]
    particles = pl.gaussian_particles(START, points)
    w = particles.weights
    root = np.linalg.cholesky(START.matrix)
    theta = np.ascontiguousarray(particles.loadings.stacked.T)
    basis, _ = hermite_basis(np.linalg.solve(root, theta).T, degree)
    q, _ = np.linalg.qr(np.sqrt(w)[:, None] * basis)
    ready = Batch(task.sample(np.random.default_rng(0)), "erf", 1.0)
    gradient, scratch = np.empty_like(theta), np.empty((2, ready.k_m.shape[0], len(w)))
    scales = np.ones_like(theta)
    scales[2:] = len(w) * w
    kept, losses = np.empty((epochs + 1, 4, 4)), np.empty(epochs + 1)
    for epoch in range(epochs + 1):
        kept[epoch] = (theta * w) @ theta.T
        losses[epoch] = network_loss_and_gradient(
            theta * scales, (1, 1, 1), network_phi("erf"), ready.shown(), scratch, gradient
        )
        gradient[:2] /= len(w) * w
        theta -= rate * (((gradient * np.sqrt(w)) @ q) @ q.T) / np.sqrt(w)
    rows = np.arange(epochs + 1)
    return pl.Trajectory(kept, rows, losses, rows, (1, 1, 1), 0, {})


def polynomials(courses: Courses) -> pd.DataFrame:
    """Return the error of loadings that are polynomials of their first values, by degree."""
    rows = []
    for case in CASES:
        field = courses.level(case, f"product {REFERENCE}")
        for degree in (1, 3, 5):
            course = courses(f"{case} degree {degree}", lambda c=case, d=degree: projected(c, d))
            rows.append({"case": case, "degree": degree, **summary(course, field)})
    table = pd.DataFrame(rows)
    say("\nLoadings as polynomials of their first values")
    say(table.round(5).to_string(index=False))
    return table


def course(kept: np.ndarray, losses: np.ndarray) -> SimpleNamespace:
    """Return what is used of a trajectory."""
    return SimpleNamespace(array=kept, losses=losses, epochs=np.arange(len(kept)))


def main() -> None:
    """Run every attempt on every case and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="folder of finished courses")
    courses = Courses(parser.parse_args().cache)
    rows = []
    for case in CASES:
        field = courses.level(case, f"product {REFERENCE}")
        attempts = {
            "Gaussian closure": courses.level(case, "closure"),
            "fourth order": courses.level(case, "fourth order"),
            "full first order": courses(f"{case} full", lambda c=case: learn_full_first_order(c)),
            "162 product particles": courses.level(case, "product 6"),
        }
        for within in (0.3, 0.5):
            attempts[f"24 Gaussians, {within}"] = courses(
                f"{case} patches {within}", lambda c=case, s=within: learn_patches(c, s)
            )
        for radii in (3, 4):
            attempts[f"{60 * radii} spherical particles"] = courses(
                f"{case} spherical {radii}", lambda c=case, r=radii: learn_spherical(c, r)
            )
        for name, level in attempts.items():
            rows.append({"case": case, "level": name, "error": summary(level, field)["largest"]})
    table = pd.DataFrame(rows).pivot(index="level", columns="case", values="error")[list(CASES)]
    say(table.round(5).to_string())
    polynomials(courses)


if __name__ == "__main__":
    main()
