"""Learning rules of circuits: feedback of their own, or noise and a reward, in place of a gradient.

Those with feedback keep their step in the span of the starting vectors and of the feedback B, so
that they close as descent does; see `predictlearn.theory.synapses`. Node perturbation does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from predictlearn.checks import non_negative, positive
from predictlearn.errors import InputError
from predictlearn.theory.learning.rules import checked_minibatch, checked_rates
from predictlearn.theory.learning.schedules import Schedule, checked_schedule
from predictlearn.theory.synapses.network import Feedback

__all__ = ["RFLO", "FeedbackAlignment", "LocalRule", "NodePerturbation"]


def _check_common(rule: FeedbackAlignment | RFLO | NodePerturbation) -> None:
    """Check the settings that these rules share, and put them in their final form."""
    object.__setattr__(rule, "rate", positive("rate", rule.rate))
    object.__setattr__(rule, "pathway_rates", checked_rates(rule.pathway_rates))
    object.__setattr__(rule, "minibatch", checked_minibatch(rule.minibatch))
    object.__setattr__(rule, "schedule", checked_schedule(rule.schedule))
    for name in ("momentum", "weight_decay", "synaptic_noise", "target_noise"):
        object.__setattr__(rule, name, non_negative(name, getattr(rule, name)))
    if rule.momentum >= 1:
        raise InputError(f"momentum must be below 1; got {rule.momentum:g}.")
    if isinstance(rule, NodePerturbation):
        return
    if not isinstance(rule.feedback, Feedback):
        raise InputError(
            f"feedback must be a pl.Feedback(decoder=..., private=...); got {rule.feedback!r}."
        )


@dataclass(frozen=True)
class FeedbackAlignment:
    """Feedback alignment: errors come back by fixed vectors B in place of the readout Z.

    The adjoint still runs back in time through the recurrent synapses::

        p_t = (1 - a) p_{t+1} + phi'(h_t) (a W' p_{t+1} + B e_t)
        dW = - rate a sum p_{t+1} phi(h_t)',   dM = - rate a sum p_t x_t',   dZ by descent

    Parameters
    ----------
    rate : float
        eta, as in `GradientDescent`.
    feedback : Feedback, default Feedback()
        B, where the network that learns has none yet; random and of unit size if not given.
    pathway_rates, momentum, weight_decay, synaptic_noise, target_noise, minibatch, schedule
        As in `GradientDescent`.

    Raises
    ------
    InputError
        If a value is out of range or a pathway unknown.

    References
    ----------
    Lillicrap, Cownden, Tweed & Akerman (2016), Nature Communications 7:13276.

    Examples
    --------
    >>> import predictlearn as pl
    >>> pl.FeedbackAlignment(0.01, pl.Feedback(decoder=-1.0)).feedback.decoder
    -1.0
    """

    rate: float
    feedback: Feedback = field(default_factory=Feedback)
    pathway_rates: Mapping[str, float] | None = None
    momentum: float = 0.0
    weight_decay: float = 0.0
    synaptic_noise: float = 0.0
    target_noise: float = 0.0
    minibatch: int | None = None
    schedule: Schedule | None = None

    def __post_init__(self) -> None:
        _check_common(self)


@dataclass(frozen=True)
class RFLO:
    """Random-feedback local online learning: no error runs back in time.

    Each synapse keeps a trace of its own past, filtered by the time constant, and changes
    by trace times the error that reaches the neuron now::

        q_ij(t) = (1 - a) q_ij(t-1) + a phi(h_j(t-1))
        dW_ij = - rate sum over t of phi'(h_i) (B e_t)_i q_ij(t)

    and so for M with the inputs; Z follows descent, whose slope is local.

    Parameters
    ----------
    rate : float
        eta, as in `GradientDescent`.
    feedback : Feedback, default Feedback()
        B, where the network that learns has none yet; random and of unit size if not given.
    pathway_rates, momentum, weight_decay, synaptic_noise, target_noise, minibatch, schedule
        As in `GradientDescent`.

    Raises
    ------
    InputError
        If a value is out of range or a pathway unknown.

    References
    ----------
    Murray (2019), eLife 8:e43299.

    Examples
    --------
    >>> import predictlearn as pl
    >>> pl.RFLO(0.01).feedback
    Feedback(decoder=0.0, private=1.0)
    """

    rate: float
    feedback: Feedback = field(default_factory=Feedback)
    pathway_rates: Mapping[str, float] | None = None
    momentum: float = 0.0
    weight_decay: float = 0.0
    synaptic_noise: float = 0.0
    target_noise: float = 0.0
    minibatch: int | None = None
    schedule: Schedule | None = None

    def __post_init__(self) -> None:
        _check_common(self)


@dataclass(frozen=True)
class NodePerturbation:
    """Reward-modulated node perturbation: each neuron tries noise, and one reward judges it.

    In every trial the input of each neuron gets white noise xi of standard deviation sigma, and a
    synapse moves by how much the loss of that trial was lower for it::

        dW_ij = - rate / sigma^2 sum over trials of (L - L0) sum_t xi_i(t) r_j(t-1)

    and so for M with the inputs, and for the factors as dW V and dW' U. L0 is the loss of the same
    trial without noise, and r the activity there. Z follows descent, whose slope is local; freeze
    it, ``pathway_rates={"z": 0.0}``, where nothing but the reward is to teach. No error comes back,
    and the step goes through a closed loop by itself.

    Parameters
    ----------
    rate : float
        eta, as in `GradientDescent`: the step is that of descent on average.
    noise : float, default 0.1
        sigma, in the units of the currents.
    pathway_rates, momentum, weight_decay, synaptic_noise, target_noise, minibatch, schedule
        As in `GradientDescent`.

    Raises
    ------
    InputError
        If a value is out of range or a pathway unknown.

    Notes
    -----
    For `train_network`, and protocols with ``engine: network``. In a linear network the mean step
    of W and M is that of descent exactly, whatever sigma, but its noise reaches all N neurons:
    `node_perturbation_step` has both in closed form. The synapses that it builds up outside the
    span of the start grow with N rate, and with them the step that is too large: for many neurons
    the largest rate that learns falls with N, at most as 1 / sqrt(N) where outputs are few, and as
    1 over the number of outputs. For N rate to zero what is learned is `GradientDescent`.

    References
    ----------
    Werfel, Xie & Seung (2005), Neural Computation 17:2699; Fiete & Seung (2006), Physical Review
    Letters 97:048104; Legenstein et al. (2010), Journal of Neuroscience 30:8400.

    Examples
    --------
    >>> import predictlearn as pl
    >>> pl.NodePerturbation(1e-4, pathway_rates={"z": 0.0}).noise
    0.1
    """

    rate: float
    noise: float = 0.1
    pathway_rates: Mapping[str, float] | None = None
    momentum: float = 0.0
    weight_decay: float = 0.0
    synaptic_noise: float = 0.0
    target_noise: float = 0.0
    minibatch: int | None = None
    schedule: Schedule | None = None

    def __post_init__(self) -> None:
        _check_common(self)
        object.__setattr__(self, "noise", positive("noise", self.noise))


LocalRule = FeedbackAlignment | RFLO
