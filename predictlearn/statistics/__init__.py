"""Statistical comparisons: effects with intervals, tests, corrections, equivalence, power.

From a tidy table (one row an observation, columns by name), one function a question; each returns a
table with a row a comparison or term:

* do groups of different animals differ: :func:`compare_groups`; the same animals in two conditions:
  :func:`compare_pairs`; are they the same, up to what would matter: :func:`equivalent_groups`,
  :func:`equivalent_pairs`;
* several sessions or trials an animal, litters, cohorts: :func:`mixed_model`;
* what an outcome of animals goes with: :func:`regression`;
* what can be read from activity in animals not trained on: :func:`decoding`;
* trials to a criterion, not always reached: :func:`compare_survival`, :func:`survival_curves`;
* evidence for a difference or for none: :func:`bayes_groups`, :func:`bayes_pairs`,
  :func:`bayes_shares`; while animals are added: :func:`sequential_bayes`, :func:`sequential_rates`;
* several of these in one run: :func:`run_tests`; how many animals: :func:`power_by_simulation`.

From arrays: :func:`paired_comparison`, :func:`two_sample_comparison`, :func:`equivalence_paired`,
:func:`equivalence_two_sample`, :func:`correct_p`, :func:`family_table`, :func:`animals_needed`,
:func:`animals_needed_equivalence`, :func:`sign_flip_test`, :func:`permutation_test`,
:func:`bca_interval`, :func:`block_bootstrap`, :func:`paired_effect`, :func:`two_sample_effect`,
:func:`jzs_bayes_factor` and :func:`partial_r2_interval`.
"""

from __future__ import annotations

from predictlearn.statistics.bayes import (
    bayes_groups,
    bayes_pairs,
    bayes_shares,
    jzs_bayes_factor,
)
from predictlearn.statistics.comparisons import paired_comparison, two_sample_comparison
from predictlearn.statistics.corrections import CORRECTIONS, correct_p, family_table
from predictlearn.statistics.decoding import decoding
from predictlearn.statistics.effects import (
    EffectSize,
    hedges_correction,
    noncentrality_interval,
    paired_effect,
    two_sample_effect,
)
from predictlearn.statistics.equivalence import equivalence_paired, equivalence_two_sample
from predictlearn.statistics.families import run_tests
from predictlearn.statistics.groups import (
    compare_groups,
    compare_pairs,
    equivalent_groups,
    equivalent_pairs,
)
from predictlearn.statistics.mixed_models import mixed_model
from predictlearn.statistics.power import (
    AnimalsNeeded,
    animals_needed,
    animals_needed_equivalence,
    equivalence_power,
)
from predictlearn.statistics.regression import partial_r2_interval, regression
from predictlearn.statistics.resampling import (
    bca_interval,
    block_bootstrap,
    block_indices,
    permutation_test,
    sign_flip_test,
    suggested_block,
)
from predictlearn.statistics.results import (
    AssumptionCheck,
    TestResult,
    bare_results,
    tests_table,
)
from predictlearn.statistics.sequential import SequentialPlan, sequential_bayes, sequential_rates
from predictlearn.statistics.simulated_power import SimulatedPower, power_by_simulation
from predictlearn.statistics.survival import compare_survival, survival_curves

__all__ = [
    "CORRECTIONS",
    "AnimalsNeeded",
    "AssumptionCheck",
    "EffectSize",
    "SequentialPlan",
    "SimulatedPower",
    "TestResult",
    "animals_needed",
    "animals_needed_equivalence",
    "bare_results",
    "bayes_groups",
    "bayes_pairs",
    "bayes_shares",
    "bca_interval",
    "block_bootstrap",
    "block_indices",
    "compare_groups",
    "compare_pairs",
    "compare_survival",
    "correct_p",
    "decoding",
    "equivalence_paired",
    "equivalence_power",
    "equivalence_two_sample",
    "equivalent_groups",
    "equivalent_pairs",
    "family_table",
    "hedges_correction",
    "jzs_bayes_factor",
    "mixed_model",
    "noncentrality_interval",
    "paired_comparison",
    "paired_effect",
    "partial_r2_interval",
    "permutation_test",
    "power_by_simulation",
    "regression",
    "run_tests",
    "sequential_bayes",
    "sequential_rates",
    "sign_flip_test",
    "suggested_block",
    "survival_curves",
    "tests_table",
    "two_sample_comparison",
    "two_sample_effect",
]
