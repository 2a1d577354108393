"""LearningFit: all overlaps of a network, measured from how it learns."""

from __future__ import annotations

import warnings
from typing import Any

import pandas as pd

from predictlearn.checks import positive, positive_int
from predictlearn.errors import ConvergenceWarning, InputError, choice
from predictlearn.fitting.learning.likelihood import (
    Fitted,
    SessionsProblem,
    search,
    size_of,
)
from predictlearn.fitting.learning.model import Model
from predictlearn.fitting.learning.parameters import ParameterLayout
from predictlearn.fitting.learning.point_estimate import centred, signed
from predictlearn.fitting.learning.posterior.randomised import search_ridge, several_open
from predictlearn.fitting.learning.recordings.data import warn_of_clocks
from predictlearn.fitting.learning.results import Learned, lasting
from predictlearn.fitting.learning.sampling_error import checked_sample, sampled
from predictlearn.fitting.learning.search import fit_recorded
from predictlearn.fitting.learning.sessions import Sessions, checked_sessions
from predictlearn.kept import once
from predictlearn.theory.learning.phases import LOSS
from predictlearn.theory.learning.rules import GradientDescent
from predictlearn.theory.names import nonlinearity_name
from predictlearn.theory.sizes import Sizes

__all__ = ["LearningFit"]


class LearningFit(Learned):
    """All overlaps at the start of learning, and the rates, from sessions along it.

    One session shows the overlaps that decide what a network does; how it learns depends on the
    others too. The fit finds the start S = L L' and the rates whose learning,
    S <- (1 - eta A)' S (1 - eta A) for descent, best agrees with all sessions, by maximum
    likelihood with exact slopes.

    Here factors learn by gradient descent. That synapses do, or by a rule with feedback of its own,
    in a closed loop or not, are other hypotheses: `fit_rule` fits each of them to what sessions
    show whatever learns, and gives `start_`, `intervals_`, `identifiable_`, `rate_` and
    `log_likelihood_` as here; `compare_rules` compares them.

    Parameters
    ----------
    nonlinearity : {"linear", "erf", "tanh"} or Nonlinearity
        phi. Other than linear the theory carries a closure error, which the intervals do not hold.
    tau : float, default 1.0
        Time constant, seconds.
    rate : {"fit", "known", "pathways"}
        Fit one factor of the rule's rate, hold it, or fit one rate a pathway m, u, v, z.
    gauge : {"given", "canonical"}
        "given": the overlaps of all sessions are in the one gauge in which the network learns, up
        to rotations. "canonical": those of every session are in its own canonical gauge (uu the
        identity), as `LowRankRNN` returns them. `start_` is always in the gauge in which plain
        descent learns: the plasticity identifies it.
    rank : int, optional
        Needed where only the loss was measured.
    n_starts : int, default 8
        Starts of the search.
    max_iter : int, default 100
        Evaluations from each of the two best.
    seed : int, default 0
        Seed of the starts, and of trials and noise where the task or the rule draws any.
    level : float, default 0.95
        Level of the intervals.
    n_jobs : int, default 1
        Processes for the starts.
    progress : bool, default True
        Show how far long work is, with the time left: on a terminal, or below the cell of a
        notebook.

    Attributes
    ----------
    start_ : Overlaps
        Overlaps before learning, realisable by construction.
    intervals_ : DataFrame
        low, high, estimate, sd by overlap and rate. sd is that of the identified part (delta
        method, t quantile). Where a direction is unidentified the interval also spans the range
        over which a network exists, and the estimate is its middle. Where several are, as from the
        loss alone, and of recordings, these are quantiles and sd of draws from the posterior (see
        Notes), made when first asked for, and the estimate is the maximum.
    covariance_ : DataFrame
        Covariance along identified directions, of overlaps and log rates.
    rates_ : Series
        Rate of every fitted pathway (``rate`` alone for ``rate="fit"``); `rate_` the common rate.
    noise_ : Series
        Standard deviation of the noise of ``overlaps`` and of ``loss``: corrected for the fitted
        parameters; NaN where the errors were given.
    log_likelihood_ : float
        At the maximum.
    identifiable_ : Series of bool
        By overlap: less than a tenth of it lies in unidentified directions.
    directions_ : DataFrame
        Unidentified directions, one a row: unit combinations of the natural parameters (overlaps,
        then log rates).
    direction_sds_ : ndarray
        Standard deviation of every direction in natural units, largest first.
    trajectory_ : DataFrame
        Fitted overlaps and loss at the sessions.
    residuals_ : DataFrame
        In units of the noise.
    converged_ : bool
        Whether the search ended by its tolerances.

    Raises
    ------
    InputError
        On `fit`, for settings or data that cannot be used.

    Notes
    -----
    A direction is unidentified when its standard deviation exceeds 1, overlaps being measured by
    the norms of their two vectors and rates by factors e. With loss-visible overlaps alone, linear
    units and small steps, exactly one is: S + c J, J = diag(+1 on m, u; -1 on v, z).

    Where several directions are open the likelihood has a long curved ridge and no maximum on it.
    The fit is then the maximum of the posterior under the weak prior of `sample`, about the first
    rates of `rule`: give the best guess you have. `draw` and `predict` draw along the ridge.

    Finished parts (starts, climbs, steps of intervals and profiles) are kept on disk while a fit
    runs: where the process was killed, interrupted or ended by an error, the same call goes on
    from there, in another process too, to the same numbers (`predictlearn.kept`). Tasks of a class
    of your own are computed anew, as its code may have changed.

    The sign of u and v together is a convention where nothing measured tells it: the first vm is
    then positive. For rank above one, rotations of u and v likewise: v_k m_j = 0 for k > j.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> from predictlearn.simulation import simulate_sessions
    >>> true = pl.Overlaps(np.eye(4)).replace(zu=0.2, vm=0.3, zv=0.2, vv=1.3)
    >>> rule, task = pl.GradientDescent(5e-3), pl.Filter(duration=10.0)
    >>> sessions = simulate_sessions(true, task, 50, rule, noise=1e-3, n_sessions=9)
    >>> fit = LearningFit(n_starts=2).fit(sessions, task, 50, rule)
    >>> bool(fit.identifiable_.all()), round(fit.start_["vv"], 1)
    (True, 1.3)
    """

    def __init__(
        self,
        nonlinearity: str = "linear",
        tau: float = 1.0,
        *,
        rate: str = "fit",
        gauge: str = "given",
        rank: int | None = None,
        n_starts: int = 8,
        max_iter: int = 100,
        seed: int = 0,
        level: float = 0.95,
        n_jobs: int = 1,
        progress: bool = True,
    ) -> None:
        self.nonlinearity = nonlinearity
        self.tau = tau
        self.rate = rate
        self.gauge = gauge
        self.rank = rank
        self.n_starts = n_starts
        self.max_iter = max_iter
        self.seed = seed
        self.level = level
        self.n_jobs = n_jobs
        self.progress = progress

    @lasting
    def fit(
        self,
        sessions: pd.DataFrame,
        tasks: Any,
        epochs: Any,
        rule: Any,
        errors: Any = None,
        *,
        recorded: int | None = None,
        network: int | None = None,
    ) -> LearningFit:
        """Fit the start and the rates.

        Parameters
        ----------
        sessions : DataFrame
            One row a session; overlaps by name as columns, and "loss"; NaN where unseen. Any subset
            will do, "loss" alone too.
        tasks : Task, or one an interval between sessions
            What was learned.
        epochs : int or sequence of int
            Updates between any two sessions, between each two, or cumulative from 0.
        rule : GradientDescent
            The rule, with a first guess of its rates (or the known ones).
        errors : float, Series, DataFrame or list of arrays, optional
            Standard deviations of the measurements: of all, by column, of each; or a covariance
            matrix a session over its columns. Not given: one is estimated for the overlaps and one
            for the losses.
        recorded : int, optional
            Number of recorded neurons, the same in all sessions, where mm, mu and uu are those of a
            sample: their error is common to all sessions, carried along by learning, and enters
            the likelihood as such (plain descent only). Not given: the overlaps of the sample
            are taken for those of the network.
        network : int, optional
            Neurons of the network that they are a sample of. Not given: very many.

        Returns
        -------
        LearningFit
            Self.

        Raises
        ------
        InputError
            Arguments that cannot be used.
        """
        self._check(rule)
        n_sample, size = checked_sample(recorded, network, rule)
        data = checked_sessions(sessions, tasks, epochs, errors, self.rank)
        layout = ParameterLayout(data.sizes, rule, self.rate)
        model = Model(
            data, layout, self.nonlinearity, self.tau, self.seed, self.gauge == "canonical"
        )
        problem = SessionsProblem(model, self._rotates(data), size_of(data))
        # from the loss alone several directions are open, always
        best = None if data.columns == (LOSS,) else self._search(problem)
        if best is not None and n_sample is not None:
            problem, best = sampled(problem, best, n_sample, size, self.max_iter)
        if best is None or not best.converged or several_open(problem, best):
            best = self._search_ridge(problem, best)
        if best is None:
            raise InputError(
                "no start gave finite learning; check that rule has a rate that the task allows "
                f"(got {rule.rate:g}) and that epochs counts updates."
            )
        best = centred(signed(best, problem), problem, self.max_iter)
        self._warn(best)
        self._keep(problem, best)
        return self

    @lasting
    def fit_recordings(
        self,
        recordings: Any,
        tasks: Any,
        epochs: Any,
        rule: Any,
        *,
        neurons: Any = None,
        network: int | None = None,
        noise: str = "gaussian",
        link: str = "exp",
        gain: float | str = 1.0,
        bin: str = "auto",
    ) -> LearningFit:
        """Fit the start and the rates to the recordings of all sessions at once.

        Parameters
        ----------
        recordings : list of Recording
            One a session, with inputs and outputs; activity in units of the current h (for linear
            units the rate), or spike counts. NaN marks missing bins: a bin with any is left out.
        tasks, epochs, rule
            As for `fit`; without momentum and synaptic noise.
        neurons : list of array_like, optional
            Ids of the neurons of every session; the same id is the same neuron, and any may recur
            in any sessions. Not given: all sessions recorded the same neurons, in one order.
        network : int, optional
            Neurons of the network that the recorded ones are a sample of. Not given: very many.
        noise : {"gaussian", "poisson", "negative-binomial"}, default "gaussian"
            Of the activity: Gaussian about the current, or spike counts with mean
            link(offset + gain h), an offset a neuron and session, for recordings of counts.
        link : {"exp", "softplus"}, default "exp"
            For counts.
        gain : float or "fit", default 1
            What is recorded of a current of 1, the same for all neurons: in units of the activity,
            of counts in those of the link's argument. "fit": found, as a further rate "gain". A
            network learns by its currents, so that learning shows in which units they are.
        bin : {"auto", "mean", "euler"}, default "auto"
            What a bin of activity and outputs holds. "mean": the mean over the bin of a network in
            continuous time, inputs constant within a bin, as of counts, calcium, and all that a
            laboratory bins. "euler": the value after one Euler step a bin, as of a simulated
            network. "auto": what is more likely for the first sessions, "mean" unless Euler steps
            are clearly so. Learning keeps the clock of its tasks: Euler steps of their ``dt``,
            output after a step compared with its target. A network in continuous time needs tasks
            in steps far shorter than ``tau``, whatever the bins of its recordings.

        Returns
        -------
        LearningFit
            Self, with further attributes. `bin_` : str, what a bin was taken for, and
            `bin_log_likelihoods_` : Series, how likely either was (empty where it was given).
            `maxima_` : DataFrame of the maxima of the likelihood found (estimates, log_likelihood
            below the highest). `sessions_` : DataFrame of the overlaps of
            each session fitted by itself, in its canonical gauge. `loadings_` and `loading_sds_` :
            DataFrames of every neuron's loadings before learning, v and z among them, which no
            session shows, and their standard deviations.

        Raises
        ------
        InputError
            Arguments that cannot be used.

        Warns
        -----
        ConvergenceWarning
            If the search did not end by its tolerances.
        UserWarning
            If a direction is left open, if bins are means but a task takes steps beyond tau / 40,
            or if bins are longer than tau: intervals were then found not to hold.

        Notes
        -----
        The likelihood of the raw activity, with the loadings of every neuron integrated out
        (`predictlearn.fitting.learning.recordings.marginal`), so that no session needs a gauge and
        neurons may recur in part. Linear units, noise that is white in time, and loadings that are
        Gaussian over neurons. Of counts the integral is Laplace's approximation. ``residuals_``
        are how far each session's dynamics and readout would leave the fit, in standard
        deviations. Where several maxima are within 3 of the highest log likelihood,
        ``intervals_`` span those of all. They are quantiles of draws along the ridge line of the
        posterior (`predictlearn.fitting.learning.posterior.ridge_line`), which bends, under the
        weak prior of `sample`; ``draw`` and ``predict`` use the same.

        Examples
        --------
        >>> import numpy as np
        >>> import predictlearn as pl
        >>> from predictlearn.simulation import simulate_learning
        >>> true = pl.Overlaps(np.eye(4)).replace(zm=0.1, zu=0.2, vm=0.3, vu=0.2)
        >>> rule, task = pl.GradientDescent(5e-3), pl.Filter(duration=10.0)
        >>> recordings, neurons = simulate_learning(
        ...     true, task, 20, rule, n_sessions=5, n_neurons=100, recorded=40, recurring=20)
        >>> fit = LearningFit(n_starts=1).fit_recordings(
        ...     recordings, task, 20, rule, neurons=neurons, network=100)
        >>> bool(fit.identifiable_.all()), round(fit.start_["vm"], 1)
        (True, 0.3)
        """
        self._check(rule)
        choice("nonlinearity", self.nonlinearity, ("linear",))
        choice("gauge", self.gauge, ("given",))
        if rule.momentum > 0 or rule.synaptic_noise > 0:
            raise InputError(
                "rule must be without momentum and synaptic_noise to be fitted to recordings: only "
                f"then does learning multiply the loadings of all neurons alike; got {rule!r}."
            )
        choice("noise", noise, ("gaussian", "poisson", "negative-binomial"))
        choice("link", link, ("exp", "softplus"))
        choice("bin", bin, ("auto", "mean", "euler"))
        found = fit_recorded(
            self, recordings, tasks, epochs, rule, neurons, network, noise, link, gain, bin
        )
        problem = found.problem
        maxima = [signed(f, problem) for f in found.maxima]
        try:
            best = centred(maxima[0], problem, self.max_iter)
            self._keep(problem, best, found.ridge_line)
            self._keep_maxima(maxima[1:])
            loadings = once(problem.loadings, best.x)
        except FloatingPointError as error:
            raise InputError(
                "the best fit lies at the edge of where learning diverges, so that its errors "
                "cannot be had: the rule is likely not the learner's, or its first rate is too far "
                f"off; got {rule!r}."
            ) from error
        self._warn(best)
        if len(self.directions_) > 0:
            warnings.warn(
                f"the sessions leave {len(self.directions_)} direction(s) open (directions_): too "
                "little was learned between them. Believe none of intervals_; record further into "
                "learning",
                UserWarning,
                stacklevel=3,
            )
        if found.bin == "mean":
            warn_of_clocks(problem.model.data.tasks, recordings, float(self.tau))
        names = list(Sizes(*problem.model.layout.sizes).columns)
        index = pd.Index(found.neurons, name="neuron")
        self.sessions_ = found.table
        self.bin_ = found.bin
        self.bin_log_likelihoods_ = pd.Series(found.evidence, dtype=float)
        self.loadings_, self.loading_sds_ = (
            pd.DataFrame(values, index=index, columns=names) for values in loadings
        )
        return self

    # -- behind fit ---------------------------------------------------------------------------

    def _check(self, rule: Any) -> None:
        """Check settings and rule; InputError if one cannot be used."""
        nonlinearity_name(self.nonlinearity)
        positive("tau", self.tau)
        choice("rate", self.rate, ("fit", "known", "pathways"))
        choice("gauge", self.gauge, ("given", "canonical"))
        for name in ("n_starts", "max_iter", "n_jobs"):
            positive_int(name, getattr(self, name))
        positive_int("seed", self.seed, minimum=0)
        if not 0 < positive("level", self.level) < 1:
            raise InputError(f"level must lie between 0 and 1; got {self.level!r}.")
        if not isinstance(rule, GradientDescent):
            raise InputError(
                "rule must be a GradientDescent of factors, whose overlaps the table holds; got "
                f"{type(rule).__name__}. Other hypotheses about learning (synapses, feedback "
                "alignment, RFLO) are fitted by pl.fit_rule(table, tasks, epochs, "
                "pl.Hypothesis(rule, learns), errors), with table and errors of "
                "pl.measured_rule_columns(recordings), and give the same start_ and intervals_."
            )
        if rule.target_noise > 0 or rule.minibatch is not None:
            raise InputError(
                "rule must be without target_noise and minibatch: no session tells which noise "
                "the learner drew. Fit the rule without it; goodness_of_fit() says if that fails."
            )

    def _search(self, problem: SessionsProblem) -> Fitted | None:
        """Return the maximum of the likelihood found; None if every start diverges."""
        return search(problem, self.n_starts, self.max_iter, self.seed, self.n_jobs)

    def _search_ridge(self, problem: SessionsProblem, first: Fitted | None) -> Fitted | None:
        """Return the maximum under the weak prior, or of the likelihood if it has one nearby."""
        begin = [] if first is None else [first.x]
        best = search_ridge(problem, begin, self.n_starts, self.max_iter, self.seed, self.n_jobs)
        if best is None or several_open(problem, best):
            return best or first
        found = once(problem.improve, best.x, best.group_sd, self.max_iter)
        single = found is not None and found.converged and not several_open(problem, found)
        return found if single else best

    def _warn(self, best: Fitted) -> None:
        """Warn if the search did not end by its tolerances."""
        if not best.converged:
            warnings.warn(
                f"the fit did not converge in {self.max_iter} evaluations; try a larger max_iter, "
                "more n_starts, or a better first rate in rule",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _rotates(self, data: Sessions) -> bool:
        """Whether a rotation of u and v (for rank one their sign) changes nothing measured."""
        seen = "".join(name for name in data.columns if name != LOSS)
        return self.gauge == "canonical" or not ("u" in seen or "v" in seen)
