"""Statistical comparisons: effects with intervals, tests, corrections, equivalence, power.

Comparisons (:func:`paired_comparison`, :func:`two_sample_comparison`), equivalence
(:func:`equivalence_paired`, :func:`equivalence_two_sample`), correction for several tests
(:func:`correct_p`, :func:`family_table`), number of animals (:func:`animals_needed`,
:func:`animals_needed_equivalence`), resampling (:func:`sign_flip_test`, :func:`permutation_test`,
:func:`bca_interval`, :func:`block_bootstrap`) and effect sizes (:func:`paired_effect`,
:func:`two_sample_effect`).

Which one when:

* the same network or animal under two conditions: `paired_comparison`;
* different animals: `two_sample_comparison`;
* to show that two things are the same: `equivalence_paired` or `equivalence_two_sample`, with
  bounds stated beforehand; a test of difference that finds none shows nothing;
* a score of trials that follow one another: `block_bootstrap`.
"""

from __future__ import annotations

from predictlearn.statistics.comparisons import paired_comparison, two_sample_comparison
from predictlearn.statistics.corrections import CORRECTIONS, correct_p, family_table
from predictlearn.statistics.effects import (
    EffectSize,
    hedges_correction,
    noncentrality_interval,
    paired_effect,
    two_sample_effect,
)
from predictlearn.statistics.equivalence import equivalence_paired, equivalence_two_sample
from predictlearn.statistics.power import (
    AnimalsNeeded,
    animals_needed,
    animals_needed_equivalence,
    equivalence_power,
)
from predictlearn.statistics.resampling import (
    bca_interval,
    block_bootstrap,
    block_indices,
    permutation_test,
    sign_flip_test,
    suggested_block,
)
from predictlearn.statistics.results import TestResult, tests_table

__all__ = [
    "CORRECTIONS",
    "AnimalsNeeded",
    "EffectSize",
    "TestResult",
    "animals_needed",
    "animals_needed_equivalence",
    "bca_interval",
    "block_bootstrap",
    "block_indices",
    "correct_p",
    "equivalence_paired",
    "equivalence_power",
    "equivalence_two_sample",
    "family_table",
    "hedges_correction",
    "noncentrality_interval",
    "paired_comparison",
    "paired_effect",
    "permutation_test",
    "sign_flip_test",
    "suggested_block",
    "tests_table",
    "two_sample_comparison",
    "two_sample_effect",
]
