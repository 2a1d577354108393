"""predictlearn: predict how low-rank neural circuits learn, from what a recording shows and hides.

Three parts: a theory engine that integrates the overlap equations of Ger & Barak (2026), a fitting
module that estimates low-rank structure from recordings, and predictions with statistics. Names are
loaded when first used, so that importing the package stays cheap.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.4.0.dev0"

_HOMES = {
    "theory.overlaps": ("Overlaps",),
    "theory.loadings": ("Loadings",),
    "theory.names": ("overlap_names",),
    "theory.trials": ("Trials",),
    "theory.reduced": ("loss", "loss_and_derivative", "simulate"),
    "theory.rules": ("DirectDescent", "FirstOrderDescent", "GradientDescent", "GradientFlow"),
    "theory.schedules": ("RateDecay", "RateDrop"),
    "theory.synaptic_rules": ("Adam", "RMSProp", "SignDescent"),
    "theory.nonlinearity": ("Nonlinearity",),
    "theory.impulse": ("TargetLaw",),
    "theory.curvature": ("largest_stable_rate",),
    "theory.hermite": ("learn_fourth_order",),
    "theory.learning": ("learn",),
    "theory.many": ("learn_many",),
    "theory.trajectory": ("Trajectory",),
    "theory.invariants": ("conserved", "drift"),
    "theory.equivalence": ("functionally_equivalent", "metric"),
    "theory.exposure": ("exposure", "most_exposing"),
    "theory.prior": ("HiddenPrior",),
    "theory.sensitivity": ("Leg", "learn_with_sensitivities", "loss_derivative_hessian"),
    "theory.populations": ("PopulationLoadings", "Populations"),
    "theory.population_activity": ("population_loss_and_derivative", "simulate_populations"),
    "theory.population_learning": ("learn_populations",),
    "theory.population_mixture": ("fit_populations",),
    "network.activity": ("run_network",),
    "network.closure": ("closure_error",),
    "network.mean_field": ("Particles", "gaussian_particles", "learn_mean_field"),
    "network.train": ("train_network",),
    "network.populations": ("train_population_network",),
    "tasks": (
        "ArrayTask",
        "ContextDecision",
        "DampedOscillation",
        "DecisionMaking",
        "Filter",
        "FlipFlop",
        "ReachingReadout",
        "Teacher",
        "decision_accuracy",
    ),
    "recordings": (
        "Recording",
        "from_pynapple",
        "from_table",
        "load_recording",
        "read_arrays",
        "read_mat",
        "read_nwb",
    ),
    "fitting": (
        "LearningFit",
        "LowRankRNN",
        "StochasticLowRankRNN",
        "diagnose",
        "fallen_silent",
        "mask_silent",
        "select_rank",
        "simulate_learning",
        "simulate_sessions",
    ),
    "protocol": ("Protocol",),
    "predictions": ("perturbation_exposure", "training_order"),
    "published": ("reproduce",),
    "errors": ("ConvergenceWarning", "DivergenceError", "InputError"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME_OF)]


def __getattr__(name: str) -> Any:
    """Load a public name from its home on first use."""
    if name not in _HOME_OF:
        from predictlearn.errors import nearest

        close = nearest(name, _HOME_OF)
        hint = f" Did you mean {close!r}?" if close else ""
        raise AttributeError(f"module 'predictlearn' has no attribute {name!r}.{hint}")
    value = getattr(importlib.import_module(f"predictlearn.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
