"""The simulated experiments of test_sizes.py, a function a kind; each returns a tidy table."""

from __future__ import annotations

import numpy as np
import pandas as pd


def standard(law: str, rng: np.random.Generator, n: int) -> np.ndarray:
    """Return n draws of mean zero and sd one: normal, or skewed (exponential, skewness 2)."""
    return rng.normal(size=n) if law == "normal" else rng.exponential(size=n) - 1.0


def groups(
    rng: np.random.Generator,
    n: tuple[int, int] = (6, 6),
    sd: tuple[float, float] = (1.0, 1.0),
    law: str = "normal",
    shift: float = 0.0,
) -> pd.DataFrame:
    """Return one value an animal, of two groups."""
    values = [s * standard(law, rng, k) for s, k in zip(sd, n, strict=True)]
    values[1] = values[1] + shift
    return pd.DataFrame(
        {"subject": range(sum(n)), "arm": np.repeat(["a", "b"], n), "y": np.concatenate(values)}
    )


def pairs(
    rng: np.random.Generator, n: int = 8, law: str = "normal", shift: float = 0.0
) -> pd.DataFrame:
    """Return two values an animal, whose difference has sd one and mean `shift`."""
    own, gap = rng.normal(0, 2, n), standard(law, rng, n) + shift
    return pd.DataFrame(
        {
            "subject": np.tile(np.arange(n), 2),
            "arm": np.repeat(["a", "b"], n),
            "y": np.concatenate([own, own + gap]),
        }
    )


def sessions(
    rng: np.random.Generator,
    n: tuple[int, int] = (6, 6),
    n_sessions: int = 10,
    animal: float = 1.0,
    row: float = 1.0,
    law: str = "normal",
    neighbours: float = 0.0,
    slope: float = 0.0,
    litter: float = 0.0,
    per_litter: int = 1,
    shift: float = 0.0,
) -> pd.DataFrame:
    """Return sessions of animals: level of the animal, of its litter, its own slope, noise."""
    k, m = sum(n), n_sessions
    arm = np.repeat([0, 1], n)
    # litters are within arms, as where dams are treated
    dam = np.concatenate([np.arange(c) // per_litter for c in n]) + 1000 * arm
    _, dam = np.unique(dam, return_inverse=True)
    level = animal * standard(law, rng, k) + litter * rng.normal(size=dam.max() + 1)[dam]
    noise = rng.normal(size=(k, m))
    for j in range(1, m):
        noise[:, j] = neighbours * noise[:, j - 1] + np.sqrt(1 - neighbours**2) * noise[:, j]
    at = np.arange(m) - (m - 1) / 2
    y = level[:, None] + shift * arm[:, None] + slope * rng.normal(size=(k, 1)) * at + row * noise
    return pd.DataFrame(
        {
            "subject": np.repeat(np.arange(k), m),
            "arm": np.repeat(np.array(["a", "b"])[arm], m),
            "litter": np.repeat(dam, m),
            "session": np.tile(np.arange(m), k),
            "y": y.ravel(),
        }
    )


def counts(
    rng: np.random.Generator,
    n: tuple[int, int] = (6, 6),
    n_sessions: int = 5,
    trials: int = 60,
    level: float = 0.8,
    animal: float = 0.6,
    session: float = 0.0,
    shift: float = 0.0,
    learning: float = 0.0,
) -> pd.DataFrame:
    """Return correct trials of sessions; `level` and all else in log odds."""
    k = sum(n)
    arm = np.repeat([0, 1], n)
    at = np.arange(n_sessions) - (n_sessions - 1) / 2
    eta = (
        level
        + shift * arm[:, None]
        + animal * rng.normal(size=(k, 1))
        + session * rng.normal(size=(k, n_sessions))
        + learning * at
    )
    correct = rng.binomial(trials, 1 / (1 + np.exp(-eta))).ravel()
    return pd.DataFrame(
        {
            "subject": np.repeat(np.arange(k), n_sessions),
            "arm": np.repeat(np.array(["a", "b"])[arm], n_sessions),
            "session": np.tile(np.arange(n_sessions), k),
            "correct": correct,
            "trials": trials,
            "percent": 100 * correct / trials,
        }
    )


def count_pairs(rng: np.random.Generator, n: int = 8, trials: int = 60) -> pd.DataFrame:
    """Return correct trials of either condition of the same animals, of one probability each."""
    p = 1 / (1 + np.exp(-0.8 - 0.6 * rng.normal(size=n)))
    table = pd.DataFrame({"subject": np.tile(np.arange(n), 2), "arm": np.repeat(["a", "b"], n)})
    table["y"] = 100 * rng.binomial(trials, np.tile(p, 2)) / trials
    return table


def slopes_of(
    rng: np.random.Generator,
    n: int = 12,
    law: str = "normal",
    slope: float = 0.0,
    spread: bool = False,
    fixed: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return one row an animal: an outcome and two correlated things known of it."""
    x = rng.normal(size=n) if fixed is None else fixed
    n = x.size
    other = 0.5 * x + rng.normal(size=n)
    noise = standard(law, rng, n) * (0.4 + np.abs(x) if spread else 1.0)
    return pd.DataFrame({"subject": range(n), "y": slope * x + noise, "x": x, "other": other})


def features(
    rng: np.random.Generator,
    n: int = 12,
    rows: int = 10,
    within: bool = False,
    shift: float = 0.0,
) -> pd.DataFrame:
    """Return five features of rows; rows of an animal, and of a session, resemble each other."""
    subject = np.repeat(np.arange(n), rows)
    block = np.repeat(np.arange(n * rows // 5), 5)
    x = rng.normal(size=(n, 5))[subject] + 0.7 * rng.normal(size=(block.max() + 1, 5))[block]
    x = x + rng.normal(size=x.shape)
    side = block % 2 if within else (subject >= n // 2).astype(int)
    x[:, 0] += shift * side
    table = pd.DataFrame(x, columns=[f"f{j}" for j in range(5)])
    return table.assign(subject=subject, session=block, side=np.array(["left", "right"])[side])


def times(
    rng: np.random.Generator,
    n: tuple[int, int] = (6, 6),
    until: float = 60.0,
    ratio: float = 1.0,
    drop_out: tuple[float, float] = (0.0, 0.0),
    whole: bool = True,
) -> pd.DataFrame:
    """Return trials to a criterion, of mean 40 (exponential) over `ratio` in b, seen `until`."""
    arm = np.repeat([0, 1], n)
    t = rng.exponential(40.0, arm.size) / np.where(arm == 1, ratio, 1.0)
    end = np.full(arm.size, until)
    rate = np.array(drop_out)[arm]
    leaves = rng.exponential(1.0, arm.size) / np.maximum(rate, 1e-12)
    end = np.minimum(end, leaves)
    if whole:
        t, end = np.ceil(t), np.ceil(end)
    return pd.DataFrame(
        {
            "subject": range(arm.size),
            "arm": np.array(["a", "b"])[arm],
            "trials": np.minimum(t, end),
            "reached": (t <= end).astype(int),
        }
    )
