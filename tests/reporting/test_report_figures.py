"""Figures of the report: what they draw, and that they draw it in the common style."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.text import Text

from predictlearn.errors import InputError
from predictlearn.reporting import figures
from predictlearn.reporting.style import COLOURS, PALETTE, new_figure, png


def demo_curves(n: int = 120) -> pd.DataFrame:
    """Learning curves of two arms with two kinds of bands."""
    epoch = np.linspace(0, 2000, n)
    parts = []
    for arm, speed in (("A first", 300.0), ("B first", 520.0)):
        mean = 0.03 + 1.1 * np.exp(-epoch / speed) / (1 + np.exp((epoch - 900) / 200))
        for kind, width in (("networks", 0.10), ("draws", 0.22), ("mean", 0.03)):
            parts.append(
                pd.DataFrame(
                    {
                        "arm": arm,
                        "quantity": "loss",
                        "epoch": epoch,
                        "mean": mean,
                        "low": mean * (1 - width),
                        "high": mean * (1 + width),
                        "kind": kind,
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def demo_overlaps(truth: bool = True) -> pd.DataFrame:
    """Ten overlaps in three tiers, the hidden ones from a prior."""
    rng = np.random.default_rng(1)
    names = ["zm", "zu", "vm", "vu", "mm", "mu", "uu", "zv", "vv", "zz"]
    tiers = ["loss-visible"] * 4 + ["recording"] * 3 + ["hidden"] * 3
    estimate = np.array([0.31, 0.62, 0.55, 0.78, 1.02, 0.24, 1.0, 0.0, 1.1, 1.2])
    half = np.where(np.array(tiers) == "hidden", 0.6, 0.08)
    half[names.index("uu")] = 0.0
    frame = pd.DataFrame({"name": names, "estimate": estimate, "visibility": tiers})
    frame = frame.assign(low=estimate - half, high=estimate + half)
    return frame.assign(truth=estimate + 0.5 * half * rng.normal(size=10)) if truth else frame


def demo_effects() -> pd.DataFrame:
    """Effect sizes, one of them infinite."""
    return pd.DataFrame(
        {
            "label": [
                "final loss on A",
                "final loss on B",
                "epochs until the loss has fallen by half, first task",
                "overlap uu at the end",
                "overlap vm at the end",
            ],
            "estimate": [0.82, -0.11, 1.94, np.inf, 0.31],
            "low": [0.31, -0.55, 1.12, 2.4, -0.13],
            "high": [1.33, 0.33, 2.71, np.inf, 0.75],
            "p": [0.0021, 0.61, 3e-7, 0.0, 0.16],
        }
    )


def demo_activity() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Recorded and fitted activity of 60 neurons."""
    rng = np.random.default_rng(2)
    time = np.arange(60) * 0.05
    basis = np.stack([np.exp(-time / 0.4), np.sin(2 * time) * np.exp(-time / 1.5)], axis=1)
    fitted = 4.0 + basis @ rng.normal(size=(2, 60))
    return fitted + rng.normal(size=fitted.shape) * rng.uniform(0.05, 0.6, 60), fitted, time


def demo_changes() -> pd.DataFrame:
    """Changes of overlaps in two arms."""
    base = demo_overlaps()
    rng = np.random.default_rng(3)
    parts = []
    for arm in ("A first", "B first"):
        mean = rng.normal(size=10) * 0.3
        half = rng.uniform(0.03, 0.15, 10)
        parts.append(
            base[["name", "visibility"]].assign(
                arm=arm, mean=mean, low=mean - half, high=mean + half
            )
        )
    return pd.concat(parts, ignore_index=True)


def demo_learning() -> pd.DataFrame:
    """A slow learning curve under much trial-to-trial noise."""
    rng = np.random.default_rng(4)
    trial = np.arange(583)
    truth = 92 + 26 * (1 - np.exp(-trial / 260))
    observed = truth + rng.normal(size=583) * 80
    smoothed = pd.Series(observed).rolling(61, center=True, min_periods=15).mean().to_numpy()
    predicted = 88 + 30 * (1 - np.exp(-trial / 220))
    frame = pd.DataFrame({"trial": trial, "observed": observed, "smoothed": smoothed})
    frame = frame.assign(predicted=predicted, low=predicted - 5 - trial / 60)
    return frame.assign(
        high=predicted + 5 + trial / 60,
        mean=observed[:194].mean(),
        line=92 + 0.055 * trial,
        exponential=90 + 40 * (1 - np.exp(-trial / 400)),
    )


def demo_exposure() -> pd.DataFrame:
    """Contributions of overlaps to a difference."""
    return pd.DataFrame(
        {
            "overlap": ["uu", "mu", "vv", "zz", "zv", "mm"],
            "contribution": [0.42, -0.13, 0.08, 0.05, -0.02, 0.004],
            "low": [0.35, -0.2, 0.01, 0.02, -0.05, 0.0],
            "high": [0.49, -0.06, 0.15, 0.08, 0.01, 0.008],
        }
    )


def demo_figures() -> dict:
    """Every kind of figure, by name."""
    ranks = pd.DataFrame(
        {"rank": [1, 2, 3, 4], "mean": [0.52, 0.527, 0.529, 0.52], "se": [0.009] * 4}
    )
    drop = pd.DataFrame(
        {
            "label": ["measured, block 1 activity", "measured, first 30 trials", "predicted"],
            "estimate": [80.2, 94.3, 84.0],
            "low": [71.0, 65.0, 76.0],
            "high": [89.0, 123.0, 92.0],
            "kind": ["measured", "measured", "predicted"],
        }
    )
    panels = pd.concat(
        [
            demo_curves().assign(quantity=name, mean=lambda f, k=k: f["mean"] - 0.2 * k)
            for k, name in enumerate(("zm", "zu", "vm", "vu"))
        ]
    ).assign(low=lambda f: f["mean"] - 0.1, high=lambda f: f["mean"] + 0.1)
    wide = pd.concat([demo_overlaps(False)] * 3, ignore_index=True).assign(
        name=lambda f: [f"{n}{k}" for k, n in enumerate(f["name"])]
    )
    wide.loc[wide["visibility"] == "hidden", ["estimate", "low", "high"]] *= 40
    return {
        "curves": figures.learning_curves(
            demo_curves(),
            ylabel="Loss, summed squared error × s",
            phases=[(0, "task A"), (900, "task B")],
        ),
        "curve-panels": figures.learning_curves(panels, ylabel="Overlap"),
        "overlaps": figures.overlap_intervals(demo_overlaps()),
        "overlaps-wide": figures.overlap_intervals(wide),
        "effects": figures.effect_sizes(demo_effects()),
        "families": figures.effect_sizes(
            demo_effects().assign(
                group=["losses"] * 3 + ["overlaps"] * 2,
                label=lambda f: [
                    f"{name}, in words that take several lines" for name in f["label"]
                ],
            )
        ),
        "drop": figures.effect_sizes(drop, xlabel="Cursor progress, mm/s", zero=False),
        "activity": figures.fitted_activity(*demo_activity(), ylabel="Rate, spikes/s"),
        "ranks": figures.rank_curve(ranks, 1, ceiling=0.61),
        "changes": figures.overlap_changes(demo_changes()),
        "learning": figures.real_learning(
            demo_learning(),
            split=194,
            baselines=("mean", "line", "exponential"),
            levels={"before the change": 171.9, "predicted drop": 80.2},
        ),
        "exposure": figures.exposure(demo_exposure(), xlabel="Contribution to −dL/dt"),
    }


@pytest.fixture(scope="module")
def drawn() -> dict:
    return demo_figures()


def test_every_axes_says_what_it_shows(drawn):
    for name, figure in drawn.items():
        assert figure.axes, name
        texts = [axes.get_xlabel() for axes in figure.axes]
        assert any(texts), f"{name} has no label on any horizontal axis"
        for axes in figure.axes:
            rows = [label.get_text() for label in axes.get_yticklabels()]
            assert axes.get_ylabel() or any(rows), f"{name} has an unlabelled vertical axis"


def assert_no_text_overlaps(drawn, monkeypatch):
    """All texts that are really drawn, in pixels: none may cover another or leave the canvas."""
    texts = {}
    draw = Text.draw

    def noted(self, renderer, *args, **kwargs):
        if self.get_visible() and self.get_text().strip():
            texts[id(self)] = self
        return draw(self, renderer, *args, **kwargs)

    monkeypatch.setattr(Text, "draw", noted)
    for name, figure in drawn.items():
        texts.clear()
        png(figure, dpi=100)
        renderer = figure.canvas.get_renderer()
        # without its arrow, an annotation is as large as its text
        boxes = [(t.get_text(), Text.get_window_extent(t, renderer)) for t in texts.values()]
        width, height = figure.canvas.get_width_height()
        assert len(boxes) > 5, name
        for k, (label, box) in enumerate(boxes):
            inside = min(box.x0, box.y0) >= 0 and box.x1 <= width and box.y1 <= height
            assert inside, f"{name}: {label!r} leaves the figure"
            for other, second in boxes[k + 1 :]:
                apart = min(box.x1, second.x1) - max(box.x0, second.x0)
                above = min(box.y1, second.y1) - max(box.y0, second.y0)
                assert apart < 1 or above < 1, f"{name}: {label!r} covers {other!r}"


def test_no_text_overlaps(drawn, monkeypatch):
    assert_no_text_overlaps(drawn, monkeypatch)


def test_drawing_leaves_no_trace_in_global_state(drawn):
    import matplotlib

    before = matplotlib.rcParams["font.size"]
    figures.learning_curves(demo_curves())
    assert matplotlib.rcParams["font.size"] == before
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )


def test_same_figure_same_bytes():
    first = png(figures.learning_curves(demo_curves()), dpi=60)
    assert first == png(figures.learning_curves(demo_curves()), dpi=60)
    assert first[:8] == b"\x89PNG\r\n\x1a\n"


def test_curves_have_one_line_an_arm_in_the_palette():
    figure = figures.learning_curves(demo_curves(), bands=["networks"])
    (axes,) = figure.axes
    lines = [line for line in axes.lines if line.get_label() in ("A first", "B first")]
    assert [to_hex(line.get_color()) for line in lines] == [c.lower() for c in PALETTE[:2]]
    assert len(axes.collections) == 2, "one band an arm"
    np.testing.assert_allclose(
        lines[0].get_ydata(), demo_curves().query("arm == 'A first' and kind == 'draws'")["mean"]
    )
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["A first", "B first", "95% of networks"]


def test_the_interval_of_the_mean_is_drawn_only_when_asked():
    names = lambda f: [t.get_text() for t in f.legends[0].get_texts()]  # noqa: E731
    assert "95% interval of the mean" not in names(figures.learning_curves(demo_curves()))
    assert "95% interval of the mean" in names(
        figures.learning_curves(demo_curves(), bands=["mean"])
    )


@pytest.mark.parametrize(("span", "scale"), [(3.0, "linear"), (1000.0, "log")])
def test_curves_choose_their_scale(span, scale):
    frame = pd.DataFrame({"arm": "A", "epoch": [0, 1, 2], "mean": [span, span / 2, 1.0]})
    frame = frame.assign(low=lambda f: f["mean"] - 2.0, high=lambda f: f["mean"] * 1.5)
    assert figures.learning_curves(frame).axes[0].get_yscale() == scale


def test_curves_of_several_quantities_are_panels(drawn):
    assert [axes.get_title(loc="left") for axes in drawn["curve-panels"].axes] == [
        "zm",
        "zu",
        "vm",
        "vu",
    ]


def test_overlaps_are_grouped_by_visibility_and_hidden_ones_look_different(drawn):
    panels = drawn["overlaps"].axes
    titles = [axes.get_title(loc="left") for axes in panels]
    assert titles[0] == "Loss-visible"
    assert "prior" in titles[2]
    labels = [[t.get_text() for t in axes.get_yticklabels()] for axes in panels]
    assert labels == [["zm", "zu", "vm", "vu"], ["mm", "mu", "uu"], ["zv", "vv", "zz"]]
    dots = [axes.lines[1] for axes in panels]
    assert dots[0].get_marker() == "o"
    assert dots[2].get_marker() == "D"
    assert to_hex(dots[0].get_color()) == COLOURS["blue"].lower()
    assert to_hex(dots[2].get_markerfacecolor()) == "#ffffff"
    segments = [c for c in panels[0].collections if isinstance(c, LineCollection)]
    assert len(segments[0].get_segments()) == 4


def test_an_overlap_without_estimate_is_listed_as_not_seen():
    frame = demo_overlaps(False)
    frame.loc[frame["name"] == "zv", ["estimate", "low", "high"]] = np.nan
    texts = [
        text.get_text() for axes in figures.overlap_intervals(frame).axes for text in axes.texts
    ]
    assert texts == ["not seen"]


def test_forest_plot_prints_its_numbers(drawn):
    (axes,) = drawn["effects"].axes
    texts = [text.get_text() for text in axes.texts]
    assert texts[0] == "0.82  [0.31, 1.33]   p = 0.0021"
    assert texts[2].endswith("p < 0.0001")
    assert texts[3].startswith("∞")
    assert [line.get_marker() for line in axes.lines if line.get_marker() in "o><"].count(">") == 1


def test_activity_shows_neurons_from_best_to_worst(drawn):
    axes = drawn["activity"].axes
    assert len(axes) == 7
    r2 = [float(a.get_title(loc="left").split("R² ")[1].replace("−", "-")) for a in axes[:6]]
    assert r2 == sorted(r2, reverse=True)
    assert axes[0].get_xlabel() == ""
    assert axes[3].get_xlabel() == "Time, s"
    recorded, fitted, _ = demo_activity()
    score = figures.variance_explained(recorded, fitted)
    assert sum(p.get_height() for p in axes[6].patches) == len(score)


def test_variance_explained_leaves_out_missing_bins():
    y = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0], [np.nan, 1.0]])
    model = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0], [9.0, 1.0]])
    score = figures.variance_explained(y, model)
    assert score[0] == 1.0
    assert np.isnan(score[1]), "a neuron that does not vary has no R2"


def test_rank_curve_marks_the_chosen_rank(drawn):
    (axes,) = drawn["ranks"].axes
    ring = next(line for line in axes.lines if line.get_markersize() == 12)
    assert ring.get_xdata()[0] == 1
    assert "ceiling 0.61" in [text.get_text() for text in axes.texts]


def test_changes_have_a_dot_per_overlap_and_arm(drawn):
    dots = [
        line for axes in drawn["changes"].axes for line in axes.lines if line.get_marker() == "o"
    ]
    assert sum(len(line.get_xdata()) for line in dots) == 20
    assert {to_hex(line.get_color()) for line in dots} == {c.lower() for c in PALETTE[:2]}


def test_real_learning_shades_what_was_fitted_and_shows_all_trials(drawn):
    upper, lower = drawn["learning"].axes
    assert len(upper.lines[0].get_xdata()) == 583
    assert lower.get_xlabel() == "Trial"
    shade = upper.patches[0]
    assert shade.get_x() + shade.get_width() == pytest.approx(193.5)
    text = [t.get_text() for t in lower.texts]
    assert "before the change\n172" in text
    legend = [t.get_text() for t in drawn["learning"].legends[0].get_texts()]
    assert legend[-3:] == ["baseline: mean", "baseline: line", "baseline: exponential"]


def test_exposure_sorts_by_size_and_adds_up_the_rest():
    frame = pd.DataFrame(
        {"name": [f"x{k}" for k in range(20)], "contribution": np.arange(20.0) - 5}
    )
    (axes,) = figures.exposure(frame).axes
    widths = [bar.get_width() for bar in axes.patches]
    assert len(widths) == 13
    assert widths[0] == 14.0
    assert sum(widths) == pytest.approx(frame["contribution"].sum())
    colours = {
        to_hex(bar.get_facecolor()) for bar, w in zip(axes.patches, widths, strict=True) if w < 0
    }
    assert colours <= {COLOURS["vermillion"].lower()}


def test_exposure_averages_draws():
    frame = pd.DataFrame({"overlap": ["uu", "mu"] * 20, "contribution": np.repeat([1.0, 3.0], 20)})
    (axes,) = figures.exposure(frame).axes
    assert [bar.get_width() for bar in axes.patches] == [2.0, 2.0]
    segments = axes.collections[0].get_segments()
    np.testing.assert_allclose(segments[0][:, 0], [1.0, 3.0])


def test_curves_of_chosen_arms_are_labelled_by_their_quantity():
    frame = pd.concat([demo_curves().assign(quantity=name) for name in ("loss on A", "zm")])
    figure = figures.learning_curves(frame, arms=["B first"], bands=["networks"])
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss on A", "zm"]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["B first", "95% of networks"]
    one = figures.learning_curves(frame, quantities=["loss on A"])
    assert one.axes[0].get_ylabel() == "Loss on A"


def test_forest_plot_has_headings_and_keeps_small_effects_readable():
    frame = pd.concat([demo_effects().iloc[:3], demo_effects().iloc[[4]]], ignore_index=True)
    frame = frame.assign(group=["losses"] * 3 + ["overlaps"])
    (axes,) = figures.effect_sizes(frame).axes
    headings = [text.get_text() for text in axes.texts if text.get_fontweight() == "bold"]
    assert headings == ["losses", "overlaps"]
    assert axes.get_xscale() == "linear"
    frame.loc[3, ["estimate", "low", "high"]] = [-115.0, -281.0, -43.0]
    assert figures.effect_sizes(frame).axes[0].get_xscale() == "symlog"


def test_figures_have_their_own_canvas():
    figure = new_figure(2.0)
    assert type(figure.canvas).__name__ == "FigureCanvasAgg"


CURVE = pd.DataFrame({"arm": "A", "epoch": [0], "mean": [1.0], "low": [1.0], "high": [1.0]})
RANKS = pd.DataFrame({"rank": [1], "mean": [1.0], "se": [0.1]})
NOTHING = pd.DataFrame({"name": ["a"], "contribution": [np.nan]})
MISNAMED = CURVE.rename(columns={"epoch": "epochs"})


def activity(neurons: int):
    """A fit of two constant neurons, to arrays of that many."""
    return figures.fitted_activity(np.zeros((4, 2)), np.zeros((4, neurons)), np.arange(4))


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: figures.learning_curves(MISNAMED), "Did you mean 'epochs'"),
        (lambda: figures.learning_curves(CURVE.iloc[:0]), "at least one row"),
        (lambda: figures.learning_curves([1, 2]), "pandas DataFrame"),
        (lambda: figures.learning_curves(CURVE, bands=["draw"]), "bands must be one of 'band'"),
        (lambda: figures.learning_curves(CURVE.assign(mean=-1.0), log=True), "above zero"),
        (lambda: figures.overlap_intervals(CURVE), "'name' is missing"),
        (lambda: figures.rank_curve(RANKS, 3), "tried, 1"),
        (lambda: activity(3), "shape"),
        (lambda: activity(2), "r2 must"),
        (lambda: figures.real_learning(demo_learning(), split=583), "within the 583 trials"),
        (lambda: figures.exposure(NOTHING), "missing"),
    ],
)
def test_wrong_tables_are_refused_in_words(draw, message):
    with pytest.raises(InputError, match=message):
        draw()


@pytest.mark.parametrize("span", [3.0, 1000.0])
def test_curves_of_networks_that_diverged_are_drawn_as_far_as_they_go(span):
    frame = pd.DataFrame({"arm": "A", "epoch": range(4), "mean": [span, 2.0, 1.0, np.inf]})
    frame = frame.assign(low=frame["mean"] / 2, high=[2 * span, 3.0, np.nan, np.inf])
    figure = figures.learning_curves(frame)
    assert png(figure, dpi=50)
    assert np.isfinite(figure.axes[0].get_ylim()).all()


@pytest.mark.parametrize(("small", "scale"), [(0.1, "symlog"), (0.01, "linear"), (5.0, "linear")])
def test_values_of_very_different_size_are_spread_by_a_logarithmic_scale(small, scale):
    # 0.1 +- 0.05 is known not to be zero, and lost beside 60; 0.01 +- 0.05 may be zero
    frame = pd.DataFrame({"name": list("abcd"), "estimate": [small, -30.0, 20.0, 60.0]})
    frame = frame.assign(low=lambda f: f["estimate"] - 0.05, high=lambda f: f["estimate"] + 0.05)
    (axes,) = figures.overlap_intervals(frame.assign(visibility="loss-visible")).axes
    assert axes.get_xscale() == scale
    assert ("logarithmic" in axes.get_title(loc="left")) is (scale == "symlog")


def test_tables_of_the_fit_are_taken_as_they_are():
    # names in the index, and the columns that the rank selection has
    frame = demo_overlaps().set_index("name")
    assert len(figures.overlap_intervals(frame).axes) == 3
    ranks = pd.DataFrame({"rank": [1, 2], "mean": [0.5, 0.6], "standard_error": [0.01, 0.02]})
    (axes,) = figures.rank_curve(ranks, 2).axes
    assert axes.patches
    # that rule judges by the standard error of differences, so that is drawn
    (axes,) = figures.rank_curve(ranks.assign(short_error=[0.004, 0.0]), 2).axes
    assert not axes.patches
    bars = axes.collections[0].get_segments()
    assert [bar[1, 1] - bar[0, 1] for bar in bars] == pytest.approx([0.008, 0.0])
