"""Modules that have moved into rooms: the old names work for one more version."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
import warnings
from collections.abc import Sequence
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec

__all__ = ["MODULES", "install"]

# Room of before, room of now (- for the package itself), and the modules: old=new, or one name.
_TABLE = """
fitting fitting.diagnostics: copies findings fixed_points lack_of_fit latent_plane loading_shape
    residuals
fitting fitting.evaluation: ceiling cosmoothing coverage rank_selection
fitting fitting.learning: learning_climb=search learning_fit=estimator learning_forecast=forecast
    learning_goodness=goodness learning_identifiability=identifiability
    learning_likelihood=likelihood learning_middle=point_estimate learning_model=model
    learning_parameters=parameters learning_results=results learning_sampling=sampling_error
    learning_sessions=sessions
fitting fitting.learning.posterior: learning_bayes=mcmc learning_crest=ridge_line
    learning_intervals=delta_method learning_open=randomised learning_profile=profile
    learning_straight=unconstrained
fitting fitting.learning.recordings: expansion_kernels learning_finite=finite_network
    learning_information=information learning_joint=likelihood learning_marginal=marginal
    learning_observed=observations learning_raw=data
fitting fitting.session: attributes bin_means bootstrap counts=count_noise determined dynamics
    entry=validation euler_twin low_rank_rnn=estimator moments=loading_moments observation offsets
    optima rollout scoring summary=overlap_table trials=unequal_trials
fitting fitting.session.kernels: count_kernels=counts kernels=regression lagged_kernels=lags
    vector_math
fitting fitting.session.search: arrow=normal_equations components inner=regression
    lagged=lag_moments loading_prior marginal solver=levenberg_marquardt starts
fitting fitting.state_space: state_space_climb=squarem state_space_em=em
    state_space_entry=validation state_space_held_out=held_out state_space_inputs=inputs
    state_space_kernels=kernels state_space_model=kalman state_space_report=results
    state_space_starts=starts
fitting recordings: cleaning=silent_units
fitting simulation: learning_recordings learning_simulation=sessions
network network: train=training
network theory.kernels: phi_kernels=phi
pipeline pipeline: animals=cohort run=predict
pipeline pipeline.real_learning: bci sessions
pipeline pipeline.report: report_experiments=experiments report_fit=fit report_protocol=protocol
    report_real=real
predictions -: statistics
predictions predictions.exposure: exposure_account=account exposure_closure=closure
    exposure_pairs=pairs exposure_report=report perturbation=prediction same_behaviour
predictions predictions.order: order_outcomes=outcomes
predictions real_learning: curve_fits learning_scores predictive real_learning=scores
predictions statistics: comparisons corrections effects equivalence_tests=equivalence power
    resampling results
protocol protocol: checks=validation experiment=protocol
published published: base=result courses=diverging drawing=panels runs=protocols writing=files
published published.aba: aba_figures=figures
published published.flip_flop: flip_flop_figures=figures flip_flop_runs=runs
published published.twin_history: history_decoding twin_figures=figures
    twin_first_order=first_order twins
recordings recordings: entry=validation
recordings recordings.datasets: bci=bci_learning bci_golub bci_redundancy behaviour download
    registry simulated
recordings recordings.readers: arrays assembly binning conditions continuous events hdf5 layout
    mat mat_claims matlab=mat_file matlab_objects=mat_objects nwb nwb_file nwb_sources padding
    pynapple_reader=pynapple table table_file
recordings simulation: simulation=recordings
reporting reporting: report=content
reporting reporting.figures: comparison courses curves diagnostics fit overlaps
tasks tasks: _common=trial_windows random=normal_numbers
theory theory: prior=hidden_prior reduced=activity
theory theory.equivalence: exposure speed
theory theory.kernels: few_kernels=few_trials gain_kernels=gain hermite_kernels=fourth_order
    hermite_single_kernels=fourth_order_rank_one hessian_kernels=hessian impulse
    impulse_closed=impulse_rank_one outer_kernels=outer population_kernels=populations
    row_kernels=rows sensitivity_kernels=sensitivity single_kernels=rank_one steps=descent
    tile_kernels=tiles
theory theory.learning: curvature=stability flow hermite=fourth_order invariants rules schedules
    sensitivity stream=trial_stream synaptic_rules trajectory
theory theory.populations: gaussianity population_activity=activity population_learning=learning
    population_mixture=mixture
"""


def _modules() -> dict[str, str]:
    """Return where each module of before is now, without the package's name."""
    found = {}
    for entry in _TABLE.strip().replace("\n    ", " ").split("\n"):
        rooms, _, names = entry.partition(": ")
        before, now = rooms.split()
        for name in names.split():
            old, _, new = name.partition("=")
            found[f"{before}.{old}"] = new or old if now == "-" else f"{now}.{new or old}"
    return found


MODULES = _modules()


class _Stand(Loader):
    """Makes a module that hands everything on to the one that stands elsewhere now."""

    def __init__(self, home: str) -> None:
        self.home = home

    def create_module(self, spec: ModuleSpec) -> types.ModuleType | None:
        """Return None: an empty module will do."""
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        """Warn, and hand on."""
        warnings.warn(
            f"{module.__name__} goes with the next version; use {self.home}",
            DeprecationWarning,
            stacklevel=2,
        )
        module.__getattr__ = partial(getattr, importlib.import_module(self.home))  # type: ignore[method-assign]


class _Finder(MetaPathFinder):
    """Finds modules of before, where nothing else does."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: types.ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return what makes the module; None for any other."""
        package, _, name = fullname.partition(".")
        if package != "predictlearn" or name not in MODULES:
            return None
        return importlib.util.spec_from_loader(fullname, _Stand(f"predictlearn.{MODULES[name]}"))


def install() -> None:
    """Let modules of before be found, after all others."""
    if not any(type(finder).__name__ == _Finder.__name__ for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
