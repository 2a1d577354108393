"""Tables and figure of studies/baselines/baselines.md, from the files that the runs wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from predictlearn.reporting.style import COLOURS, INK, SOFT, new_figure, png, styled

HERE = Path(__file__).resolve().parent
OURS = "low-rank network"
KINDS = {
    "low-rank network": "blue",
    "low-rank network, Poisson": "blue",
    "low-rank network + AR of residuals": "blue",
    "stochastic low-rank network": "blue",
    "backpropagation": "vermillion",
    "backpropagation, Poisson": "vermillion",
}


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Return one row a set, task and method: means over folds, and differences from ours."""
    rows = []
    for (name, task), part in scores.groupby(["set", "task"], sort=False):
        base = OURS if task == "open loop" else "low-rank network + AR of residuals"
        ours = part[part["method"] == base].set_index("fold")
        for method, own in part.groupby("method", sort=False):
            # open loop it is the network itself
            if task == "open loop" and method.endswith("AR of residuals"):
                continue
            own = own.set_index("fold")
            row = {"set": name, "task": task, "method": method}
            for metric in ("r2", "bits"):
                difference = own[metric] - ours[metric]
                row[metric] = own[metric].mean()
                row[metric + " se"] = own[metric].sem()
                row[metric + " minus ours"] = difference.mean()
                row[metric + " minus ours se"] = difference.sem()
            row["seconds"] = own["seconds"].median()
            row["parameters"] = own["parameters"].median()
            chosen = own["chosen"].str.replace(r"(, rate [\d.]+)?, \d+ steps", "", regex=True)
            row["chosen"] = f"{chosen.mode()[0]} ({(chosen == chosen.mode()[0]).sum()})"
            rows.append(row)
    return pd.DataFrame(rows)


def _seconds(value: float) -> str:
    """Word a time."""
    return "" if np.isnan(value) else f"{value:.2g}" if value < 10 else f"{value:.0f}"


def write_tables(page: Path = HERE / "baselines.md") -> None:
    """Put the tables of the files into the page, between its markers."""
    text = page.read_text()
    parts = {
        "scores": score_tables(pd.read_csv(HERE / "baselines.csv")),
        "race": race_table(pd.read_csv(HERE / "baselines_race.csv")),
        "why": why_table(pd.read_csv(HERE / "baselines_why.csv")),
        "ranks": rank_table(pd.read_csv(HERE / "baselines_ranks.csv")),
    }
    for name, table in parts.items():
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, rest = text.split(start)
        text = before + start + table + "\n" + end + rest.split(end)[1]
    page.write_text(text)


def _rows(head: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def why_table(table: pd.DataFrame) -> str:
    """Return means and standard errors over folds of the experiments."""
    grouped = table.groupby(["set", "inputs", "model"], sort=False)
    both = zip(grouped.mean(numeric_only=True).iterrows(), grouped.sem().iterrows(), strict=True)
    rows = [
        [*key, *(f"{mean[m]:.3f} ({error[m]:.3f})" for m in ("r2", "r2 one step"))]
        for (key, mean), (_, error) in both
    ]
    return _rows(["set", "inputs", "model", "R2 open loop", "R2 one step"], rows)


def rank_table(table: pd.DataFrame) -> str:
    """Return what `select_rank` chose."""
    rows = [
        [
            row["set"],
            row["rule"],
            str(row["rank"]),
            f"{row['r2']:.3f} ({row['standard error']:.3f})",
            f"{row['best rank']} ({row['best r2']:.3f})",
        ]
        for _, row in table.iterrows()
    ]
    return _rows(["set", "rule", "rank", "its held-out R2", "best of 1 to 3"], rows)


def score_tables(scores: pd.DataFrame) -> str:
    """Return the tables of scores in Markdown, one a set and task."""
    out = []
    for (name, task), part in summary(scores).groupby(["set", "task"], sort=False):
        counts = bool(part["bits"].notna().any())
        head = ["method", "R2", "minus ours"]
        head += ["bits per spike", "minus ours"] if counts else []
        head += ["chosen (folds of 5)", "parameters", "seconds"]
        out += ["", f"### {name}, {task}", "", "| " + " | ".join(head) + " |"]
        out.append("|" + "---|" * len(head))
        for _, row in part.iterrows():
            own = row["r2 minus ours"] == 0 and row["r2 minus ours se"] == 0
            cells = [row["method"]]
            for metric, digits in (("r2", 3), ("bits", 4)):
                if metric == "bits" and not counts:
                    continue
                cells.append(f"{row[metric]:.{digits}f} ({row[metric + ' se']:.{digits}f})")
                gap, error = row[f"{metric} minus ours"], row[f"{metric} minus ours se"]
                cells.append("" if own else f"{gap:+.{digits + 1}f} ({error:.{digits + 1}f})")
            cells += [row["chosen"], f"{row['parameters']:.0f}", _seconds(row["seconds"])]
            out.append("| " + " | ".join(cells) + " |")
    return "\n".join(out[1:])


def race_table(race: pd.DataFrame) -> str:
    """Return the race in Markdown, one row a set and learning rate."""
    rows = []
    for _, row in race.iterrows():
        missed = "" if row["reached"] else ", not reached"
        rows.append(
            [
                f"{row['set']}, rank {row['rank']}",
                f"{row['r2 ours']:.4f}, {_seconds(row['seconds ours'])} s",
                f"{row['learning rate']:g}",
                f"{row['r2 backpropagation']:.4f}{missed}",
                f"{_seconds(row['seconds backpropagation'])} s",
                f"{row['ratio']:.1f}",
                f"{row['r2 stopped by validation']:.4f}",
                f"{_seconds(row['seconds stopped by validation'])} s",
                f"{row['ratio stopped by validation']:.1f}",
            ]
        )
    head = ["recording", "LowRankRNN", "Adam, rate", "R2", "time", "ratio"]
    return _rows([*head, "R2, own stop", "time", "ratio"], rows)


@styled
def figure(scores: pd.DataFrame, curves: pd.DataFrame, race: pd.DataFrame) -> None:
    """Draw R2 minus ours by method and set, and R2 of backpropagation along its training."""
    table = summary(scores)
    sets = [
        name
        for name in ("simulated-learning", "bci-learning", "bci-redundancy")
        if name in set(table["set"])
    ]
    fig = new_figure(height=5.6)
    grid = fig.add_gridspec(2, len(sets), height_ratios=(1.35, 1), hspace=0.55, wspace=0.12)
    part = table[table["task"] == "open loop"]
    part = part[part["set"].isin(sets)]
    order = [m for m in part["method"].unique() if m != OURS][::-1]
    order = ["condition means", *(m for m in order if m != "condition means")]
    for i, name in enumerate(sets):
        ax = fig.add_subplot(grid[0, i])
        own = part[part["set"] == name].set_index("method")
        for j, method in enumerate(order):
            if method not in own.index:
                continue
            row = own.loc[method]
            colour = COLOURS[KINDS[method]] if method in KINDS else SOFT
            colour = COLOURS["green"] if method == "condition means" else colour
            ax.errorbar(
                row["r2 minus ours"],
                j,
                xerr=2.776 * row["r2 minus ours se"],
                fmt="o",
                color=colour,
                markersize=4,
                capsize=2,
            )
        ax.axvline(0, color=INK, linewidth=0.8)
        ax.set_yticks(range(len(order)), order if i == 0 else [""] * len(order))
        ax.set_ylim(-0.6, len(order) - 0.4)
        ours = own.loc[OURS, "r2"]
        ax.set_title(f"{name}\n(network: {ours:.3f})", fontsize=8.5)
        ax.locator_params(axis="x", nbins=3)
        ax.set_xlabel("R2 minus network's")
    names = list(dict.fromkeys(race["set"]))
    lower = grid[1, :].subgridspec(1, len(names), wspace=0.35)
    for i, name in enumerate(names):
        ax = fig.add_subplot(lower[0, i])
        own = race[race["set"] == name]
        for k, (rate, curve) in enumerate(curves[curves["set"] == name].groupby("learning rate")):
            tone = ("orange", "vermillion", "purple", "sky")[k]
            ax.plot(
                curve["seconds"], curve["r2"], color=COLOURS[tone], linewidth=1.1, label=f"{rate:g}"
            )
        first = own.iloc[0]
        ax.plot(first["seconds ours"], first["r2 ours"], "o", color=COLOURS["blue"], markersize=5)
        ax.axhline(first["r2 ours"], color=COLOURS["blue"], linewidth=0.7, linestyle=":")
        ax.set_xscale("log")
        top = first["r2 ours"]
        ax.set_ylim(-0.1 * top, 1.15 * top)
        ax.set_title(name.replace("simulated, ", ""), fontsize=8.5)
        ax.set_xlabel("CPU time (s)")
        if i == 0:
            ax.set_ylabel("held-out R2")
            lines = ax.get_lines()[: len(own)]
    labels = [f"Adam, rate {line.get_label()}" for line in lines]
    fig.legend(lines, labels, ncols=len(lines), loc="center", bbox_to_anchor=(0.5, 0.375))
    (HERE / "baselines.png").write_bytes(png(fig))
