# The public names, for lazy_loader when the package runs, and for editors and type checkers.

from .errors import (
    ConvergenceWarning as ConvergenceWarning,
)
from .errors import (
    DivergenceError as DivergenceError,
)
from .errors import (
    InputError as InputError,
)
from .fitting import (
    Hypothesis as Hypothesis,
)
from .fitting import (
    LearningFit as LearningFit,
)
from .fitting import (
    LowRankRNN as LowRankRNN,
)
from .fitting import (
    StochasticLowRankRNN as StochasticLowRankRNN,
)
from .fitting import (
    compare_rules as compare_rules,
)
from .fitting import (
    diagnose as diagnose,
)
from .fitting import (
    fallen_silent as fallen_silent,
)
from .fitting import (
    fit_rule as fit_rule,
)
from .fitting import (
    mask_silent as mask_silent,
)
from .fitting import (
    measured_rule_columns as measured_rule_columns,
)
from .fitting import (
    select_rank as select_rank,
)
from .network.activity import run_network as run_network
from .network.closure import closure_error as closure_error
from .network.mean_field import (
    Particles as Particles,
)
from .network.mean_field import (
    gaussian_particles as gaussian_particles,
)
from .network.mean_field import (
    learn_mean_field as learn_mean_field,
)
from .network.populations import train_population_network as train_population_network
from .network.training import train_network as train_network
from .network.trajectories import (
    NetworkTrajectory as NetworkTrajectory,
)
from .network.trajectories import (
    SynapticNetworkTrajectory as SynapticNetworkTrajectory,
)
from .predictions import (
    perturbation_exposure as perturbation_exposure,
)
from .predictions import (
    training_order as training_order,
)
from .protocol import Protocol as Protocol
from .published import reproduce as reproduce
from .recordings import (
    Recording as Recording,
)
from .recordings import (
    from_pynapple as from_pynapple,
)
from .recordings import (
    from_table as from_table,
)
from .recordings import (
    load_recording as load_recording,
)
from .recordings import (
    read_arrays as read_arrays,
)
from .recordings import (
    read_mat as read_mat,
)
from .recordings import (
    read_nwb as read_nwb,
)
from .simulation import (
    simulate_learning as simulate_learning,
)
from .simulation import (
    simulate_sessions as simulate_sessions,
)
from .tasks import (
    ArrayTask as ArrayTask,
)
from .tasks import (
    ContextDecision as ContextDecision,
)
from .tasks import (
    CursorReaching as CursorReaching,
)
from .tasks import (
    CursorTracking as CursorTracking,
)
from .tasks import (
    DampedOscillation as DampedOscillation,
)
from .tasks import (
    DecisionMaking as DecisionMaking,
)
from .tasks import (
    Filter as Filter,
)
from .tasks import (
    FlipFlop as FlipFlop,
)
from .tasks import (
    Mixture as Mixture,
)
from .tasks import (
    ReachingReadout as ReachingReadout,
)
from .tasks import (
    Teacher as Teacher,
)
from .tasks import (
    decision_accuracy as decision_accuracy,
)
from .theory.activity import (
    loss as loss,
)
from .theory.activity import (
    loss_and_derivative as loss_and_derivative,
)
from .theory.activity import (
    simulate as simulate,
)
from .theory.equivalence.equivalent import (
    functionally_equivalent as functionally_equivalent,
)
from .theory.equivalence.equivalent import (
    metric as metric,
)
from .theory.equivalence.exposure import exposure as exposure
from .theory.equivalence.exposure import most_exposing as most_exposing
from .theory.hidden_prior import HiddenPrior as HiddenPrior
from .theory.kernels.impulse import TargetLaw as TargetLaw
from .theory.learning.descent import learn as learn
from .theory.learning.fourth_order import learn_fourth_order as learn_fourth_order
from .theory.learning.invariants import conserved as conserved
from .theory.learning.invariants import drift as drift
from .theory.learning.local_rules import (
    RFLO as RFLO,
)
from .theory.learning.local_rules import (
    FeedbackAlignment as FeedbackAlignment,
)
from .theory.learning.local_rules import (
    NodePerturbation as NodePerturbation,
)
from .theory.learning.many import learn_many as learn_many
from .theory.learning.phases import Leg as Leg
from .theory.learning.rules import (
    DirectDescent as DirectDescent,
)
from .theory.learning.rules import (
    FirstOrderDescent as FirstOrderDescent,
)
from .theory.learning.rules import (
    GradientDescent as GradientDescent,
)
from .theory.learning.rules import (
    GradientFlow as GradientFlow,
)
from .theory.learning.schedules import RateDecay as RateDecay
from .theory.learning.schedules import RateDrop as RateDrop
from .theory.learning.sensitivity import (
    learn_with_sensitivities as learn_with_sensitivities,
)
from .theory.learning.sensitivity import (
    loss_derivative_hessian as loss_derivative_hessian,
)
from .theory.learning.span import (
    FactorTrajectory as FactorTrajectory,
)
from .theory.learning.span import (
    SynapticTrajectory as SynapticTrajectory,
)
from .theory.learning.span_sensitivity import (
    SynapticSensitivities as SynapticSensitivities,
)
from .theory.learning.span_sensitivity import (
    synaptic_sensitivities as synaptic_sensitivities,
)
from .theory.learning.stability import largest_stable_rate as largest_stable_rate
from .theory.learning.synaptic_rules import (
    Adam as Adam,
)
from .theory.learning.synaptic_rules import (
    RMSProp as RMSProp,
)
from .theory.learning.synaptic_rules import (
    SignDescent as SignDescent,
)
from .theory.learning.trajectory import Trajectory as Trajectory
from .theory.loadings import Loadings as Loadings
from .theory.names import overlap_names as overlap_names
from .theory.nonlinearity import Nonlinearity as Nonlinearity
from .theory.overlaps import Overlaps as Overlaps
from .theory.populations.activity import (
    population_loss_and_derivative as population_loss_and_derivative,
)
from .theory.populations.activity import (
    simulate_populations as simulate_populations,
)
from .theory.populations.learning import learn_populations as learn_populations
from .theory.populations.mixture import fit_populations as fit_populations
from .theory.populations.populations import (
    PopulationLoadings as PopulationLoadings,
)
from .theory.populations.populations import (
    Populations as Populations,
)
from .theory.synapses.loops import (
    LoopStability as LoopStability,
)
from .theory.synapses.loops import (
    loop_stability as loop_stability,
)
from .theory.synapses.network import (
    Factors as Factors,
)
from .theory.synapses.network import (
    Feedback as Feedback,
)
from .theory.synapses.network import (
    Synapses as Synapses,
)
from .theory.synapses.network import (
    SynapticNetwork as SynapticNetwork,
)
from .theory.synapses.perturbation import (
    PerturbationStep as PerturbationStep,
)
from .theory.synapses.perturbation import (
    node_perturbation_step as node_perturbation_step,
)
from .theory.synapses.seen import what_is_seen as what_is_seen
from .theory.trials import Trials as Trials
from .theory.world import LinearWorld as LinearWorld

__version__: str
