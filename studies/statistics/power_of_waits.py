"""Power of `predictlearn compare --censored --animals`: its size, and the power of new experiments.

python studies/statistics/power_of_waits.py                   2,000 experiments, twenty minutes
python studies/statistics/power_of_waits.py --simulations 200 a quick look
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from predictlearn.comparing import resampled
from predictlearn.comparing.question import ArmComparison, asked, compare_table
from predictlearn.comparing.resampled import resampled_power

# what rooms share stands beside them
sys.path.append(str(Path(__file__).resolve().parents[1]))
from pages import say

# Animals train for 80 trials; in the reference they wait 50 on average, exponentially.
UNTIL, MEAN = 80.0, 50.0


def waits(
    n: tuple[int, int],
    ratio: float,
    rng: np.random.Generator,
    lost: float | None = None,
    shared: bool = False,
) -> pd.DataFrame:
    """Return waits of a reference and an arm of another hazard; some are lost before the end."""
    own = np.ones(sum(n))
    if shared:  # the same animals, slow or fast in both arms
        own = np.tile(rng.gamma(3.0, 1 / 3, n[0]), 2)
    hazard = own * np.repeat([1.0, ratio], n) / MEAN
    t = rng.exponential(1 / hazard)
    end = np.full(t.size, UNTIL)
    if lost is not None:
        end = np.minimum(rng.exponential(lost, t.size), UNTIL)
    subject = [*range(n[0])] * 2 if shared else range(t.size)
    arm = np.repeat(["slow", "fast"], n)
    return pd.DataFrame(
        {"subject": subject, "arm": arm, "trials": np.minimum(t, end), "never": (t > end) + 0}
    )


def compared(table: pd.DataFrame, paired: bool = False) -> ArmComparison:
    """Return the comparison that the command makes of a table."""
    question = asked("trials", censored="never", reference="slow", paired=paired)
    return compare_table(table, question)


def found_by_hand(table: pd.DataFrame, rng: np.random.Generator) -> tuple[bool, bool]:
    """Return whether the log-rank test is below 5%, by its variance and by 999 relabellings."""
    t, event = table["trials"].to_numpy(), table["never"].to_numpy() == 0
    mine = (table["arm"] == "fast").to_numpy()
    scores, gap, variance = event.astype(float), 0.0, 0.0
    for at in np.unique(t[event]):
        risk, now = t >= at, (t == at) & event
        n, n1, d = risk.sum(), (risk & mine).sum(), now.sum()
        scores[risk] -= d / n
        gap += (now & mine).sum() - d * n1 / n
        variance += d * n1 * (n - n1) * (n - d) / (n**2 * (n - 1)) if n > 1 else 0.0
    others = [abs(scores[rng.permutation(mine)].sum()) for _ in range(999)]
    p = (1 + np.sum(np.array(others) >= abs(gap) - 1e-9)) / 1000
    return bool(abs(gap) > stats.norm.isf(0.025) * np.sqrt(variance)), bool(p < 0.05)


def sizes(simulations: int) -> None:
    """Print how often a ratio of one is found, from twenty tables of each kind."""
    say("| table | lost | animals | log-rank, % | restricted mean, % |\n|---|---|---|---|---|")
    designs = [
        ((6, 6), None, 6, 1.0, False),
        ((8, 12), None, 10, 1.0, False),
        ((8, 12), None, 8, 1.5, False),
        ((20, 20), None, 20, 1.0, False),
        ((20, 20), 100.0, 12, 1.0, False),
        ((12, 12), None, 12, 1.0, True),
    ]
    for n, lost, animals, share, paired in designs:
        hits: dict[str, list[float]] = {}
        for seed in range(20):
            table = waits(n, 2.0, np.random.default_rng(seed), lost, paired)
            made = resampled_power(
                compared(table, paired), animals, [1.0], share=share,
                n_simulations=simulations // 20, seed=seed,
            )  # fmt: skip
            for one in made[2:]:
                hits.setdefault(one.test, []).append(one.power)
        found = [f"{100 * np.mean(hits[name]):.1f}" for name in ("log-rank", "restricted mean")]
        what = f"{n[0]} pairs" if paired else f"{n[0]} + {n[1]}"
        many = f"{animals} pairs" if paired else f"{round(share * animals)} + {animals}"
        say(f"| {what} | {'some' if lost else 'none'} | {many} | {' | '.join(found)} |")


def powers(simulations: int) -> None:
    """Print power from a table of many animals, and of new experiments tested by hand."""
    say(
        "\n| ratio | animals | stated | new, relabelled | new, asymptotic | Schoenfeld |\n"
        "|---|---|---|---|---|---|"
    )
    for ratio, n, share in ((2.0, 20, 1.0), (2.0, 40, 1.0), (0.5, 20, 1.0), (4.0, 6, 1.5)):
        large = compared(waits((2000, 2000), 1.0, np.random.default_rng(5)))
        made = resampled_power(large, n, [ratio], share=share, n_simulations=simulations)[2]
        rng, m = np.random.default_rng(7), round(share * n)
        hits = np.mean(
            [found_by_hand(waits((n, m), ratio, rng), rng) for _ in range(simulations)], axis=0
        )
        events = n * (1 - np.exp(-UNTIL / MEAN)) + m * (1 - np.exp(-UNTIL * ratio / MEAN))
        halves = n * m / (n + m) ** 2
        z = abs(np.log(ratio)) * np.sqrt(events * halves) - stats.norm.isf(0.025)
        say(
            f"| {ratio:g} | {m} + {n} | {100 * made.power:.1f} | {100 * hits[1]:.1f} | "
            f"{100 * hits[0]:.1f} | {100 * stats.norm.cdf(z):.1f} |"
        )


def small(simulations: int) -> None:
    """Print what small tables of one kind state."""
    say("\n| table | median | 10 to 90% of tables |\n|---|---|---|")
    for n in (6, 10, 20):
        said = []
        for seed in range(60):
            table = waits((n, n), 1.0, np.random.default_rng(100 + seed))
            made = resampled_power(compared(table), 20, [2.0], n_simulations=simulations // 10)
            said.append(100 * made[2].power)
        low, middle, high = np.percentile(said, [10, 50, 90])
        say(f"| {n} + {n} | {middle:.0f} | {low:.0f} to {high:.0f} |")


def main() -> None:
    """Print the tables of the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=2000)
    many = parser.parse_args().simulations
    resampled._SIZES = 1  # curves are not asked for
    sizes(many)
    powers(many)
    small(many)


if __name__ == "__main__":
    main()
