"""Protocol: a learning experiment read from a YAML file, checked, and run."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from predictlearn.checks import positive, positive_int
from predictlearn.errors import InputError
from predictlearn.progress import Bar
from predictlearn.protocol.bounds import record_every, rows_of
from predictlearn.protocol.cohort import arm_start, draw_start
from predictlearn.protocol.engine import START, NetworkRecord, stream
from predictlearn.protocol.given_tasks import GIVEN, PYTHON, separated, shown_bytes
from predictlearn.protocol.result import ProtocolResult
from predictlearn.protocol.schema import ProtocolSpec, parse
from predictlearn.protocol.source import Problem, Source, find_protocol, plain, read_source
from predictlearn.protocol.store import Store, run_key
from predictlearn.protocol.validation import build_tasks, check_names, check_protocol
from predictlearn.protocol.work import TasksOfFile, animals_table, run_network, scale_epochs
from predictlearn.tasks.arrays import ArrayTask
from predictlearn.tasks.registry import AnyTask
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.sizes import Sizes
from predictlearn.workers import Parallel, delayed

__all__ = ["Protocol"]


@dataclass(frozen=True, eq=False)
class Protocol:
    """A learning experiment: a cohort of networks, tasks, and arms made of phases.

    Use `load` or `from_dict`.

    Parameters
    ----------
    spec : ProtocolSpec
        The checked content.
    tasks : mapping of str to Task
        Tasks by name.
    sizes : Sizes
        Numbers of inputs, recurrent dimensions and outputs of the networks.
    source : Source
        Where the content came from.

    Notes
    -----
    The keys of a protocol, with their defaults:

    - ``name``, ``description`` (""), ``seed`` (0), ``record_every`` (1: keep every epoch; the last
      of a phase is kept always. Without it, a run whose table would have more than 4 million rows
      keeps fewer epochs, and says so; with it, up to 20 million rows are kept).
    - ``nonlinearity`` ("linear", "erf" or "tanh"), ``tau`` (1.0 s), ``engine`` ("theory", or
      "network" with ``n_neurons``).
    - ``cohort``: ``networks`` (1), ``rank`` (1), and either ``overlaps`` (values by name; unnamed
      norms are 1, unnamed cross overlaps 0) with ``spread`` (0: sd of normal deviations, a number
      or by name), or ``distribution``: ``{type: absolute-normal, cross_sd: 0.4, norms: [0.5, 2]}``
      or ``{type: random-loadings, n_neurons: 500, norms: 1}`` (overlaps of independent normal
      loadings, each pathway scaled to the norm if one is given, a number or by pathway). Draws
      that no network has, or from which an arm cannot start, are drawn again, up to ``max_draws``
      (10000).
    - ``tasks``: by name, ``type`` and the settings of `predictlearn.tasks`.
    - ``rule``: ``type`` ("gradient-descent", "gradient-flow", "first-order-descent",
      "direct-descent", "feedback-alignment", "rflo", and with engine network "adam", "rmsprop",
      "sign-descent" or "node-perturbation") and its settings; ``rate`` times epochs is the learning
      time of gradient flow. ``schedule`` is a list of multipliers of the rate,
      ``{type: drop, factor: 5, below: 0.015}`` or ``{type: decay, epochs: 1000}``.
    - ``arms``: by name, ``phases`` and optionally ``description``, ``engine``, ``n_neurons`` and
      ``rule`` (what differs in this arm), ``start`` (values of loss-invisible overlaps) and
      ``start_change`` (amounts added to them).
    - a phase trains, ``task``, ``epochs`` and optionally ``rule`` (what differs there), or changes
      the readout: ``readout`` (values of overlaps with z; with ``within_manifold: true`` zv and zz
      follow from them) or ``rotate_readout`` (degrees). Either may have a ``name``. Momentum and
      schedules start anew in every phase.
    - ``evaluate`` ([]): tasks whose loss is taken at both ends of every phase.

    Mixtures, criteria, sessions, probes, rests, animals and their drop-out are in the reference,
    docs/reference/protocols.md.

    Examples
    --------
    >>> protocol = Protocol.from_dict({
    ...     "name": "one filter",
    ...     "cohort": {"networks": 2, "overlaps": {"zm": 0.1}, "spread": 0.05},
    ...     "tasks": {"A": {"type": "filter", "decay": 0.2}},
    ...     "rule": {"rate": 0.005},
    ...     "arms": {"only": {"phases": [{"task": "A", "epochs": 100}]}},
    ... })
    >>> result = protocol.run(seed=0)
    >>> sorted(result.final("only"))
    [0, 1]
    >>> result.table.columns.tolist()
    ['arm', 'network', 'phase', 'task', 'epoch', 'phase_epoch', 'quantity', 'value']
    """

    spec: ProtocolSpec
    tasks: Mapping[str, AnyTask]
    sizes: Sizes
    source: Source

    # -- construction -------------------------------------------------------------------------

    @classmethod
    def load(cls, path_or_name: str | Path, trust: bool = False) -> Protocol:
        """Read a protocol from a YAML file, or by name one that ships with predictlearn.

        Parameters
        ----------
        path_or_name : str or pathlib.Path
            A file, or a name such as ``"aba"``.
        trust : bool, default False
            Run the functions that tasks of type python name; for a file whose code you know.

        Returns
        -------
        Protocol
            The checked protocol.

        Raises
        ------
        InputError
            If there is no such file, it is not YAML, or a key or value is wrong: one error that
            gives the line, what is allowed, and the nearest name.

        Examples
        --------
        >>> Protocol.load("aba").arms
        ('aba',)
        """
        source = read_source(find_protocol(path_or_name))
        return cls._checked(replace(source, trust=trust))

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Any], folder: str | Path = ".", trust: bool = False
    ) -> Protocol:
        """Return the protocol of a dictionary with the content of a protocol file.

        Parameters
        ----------
        data : mapping
            The content. A task may also be an object, any with n_in, n_out, dt, fixed and
            sample(rng), or a function that returns one.
        folder : str or pathlib.Path, default "."
            Where relative paths in it start.
        trust : bool, default False
            Run the functions that tasks of type python name.

        Returns
        -------
        Protocol
            The checked protocol.

        Raises
        ------
        InputError
            If a key or value is wrong.
        """
        if not isinstance(data, Mapping):
            raise InputError(f"data must be a mapping of keys; got {type(data).__name__}.")
        content, given = separated(data)
        return cls._checked(Source(plain(content), folder=Path(folder), given=given, trust=trust))

    @classmethod
    def _checked(cls, source: Source) -> Protocol:
        """Return the protocol of a source, or raise one error with everything wrong."""
        found: dict[str, Any] = {}

        def checks(spec: ProtocolSpec) -> list[Problem]:
            found["tasks"], problems = build_tasks(spec, source)
            if problems:
                return problems
            found["sizes"], problems = check_protocol(spec, found["tasks"])
            return problems

        spec = parse(source, checks)
        return cls(spec, MappingProxyType(found["tasks"]), found["sizes"], source)

    # -- content ------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of the protocol."""
        return self.spec.name

    @property
    def description(self) -> str:
        """What the protocol is for."""
        return self.spec.description

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms."""
        return tuple(self.spec.arms)

    def to_dict(self) -> dict[str, Any]:
        """Return the content as plain data that `from_dict` takes.

        Returns
        -------
        dict
            Only the keys that were given; tasks that were given as objects are in it as such.
        """
        content = self._plain()
        for name in self.source.given:
            content["tasks"][name] = self.tasks[name]
        return content

    def _plain(self) -> dict[str, Any]:
        """Return the content as text and numbers, with stand-ins for tasks that are objects."""
        content: dict[str, Any] = self.spec.model_dump(exclude_unset=True)
        return content

    def with_epochs(self, scale: float) -> Protocol:
        """Return the protocol with the epochs of every phase and session multiplied, one at least.

        Parameters
        ----------
        scale : float
            The factor.

        Returns
        -------
        Protocol
            The new protocol.

        Examples
        --------
        >>> Protocol.load("aba").with_epochs(0.01).spec.arms["aba"].phases[0].epochs
        30
        """
        if positive("scale", scale) == 1.0:
            return self
        changes = {"arms": copy.deepcopy(self.to_dict()["arms"])}
        for arm in changes["arms"].values():
            scale_epochs(arm["phases"], scale)
        sessions = self.spec.sessions
        if sessions is not None:
            epochs = max(1, round(sessions.epochs * scale))
            whole = {**self.to_dict()["sessions"], "epochs_per_trial": epochs / sessions.trials}
            changes["sessions"] = whole
        return self.replace(**changes)

    def replace(self, **changes: Any) -> Protocol:
        """Return the protocol with some of its top-level keys replaced, checked anew.

        Parameters
        ----------
        **changes
            Keys and their new content, such as ``cohort={...}`` or ``record_every=10``.

        Returns
        -------
        Protocol
            The new protocol.

        Raises
        ------
        InputError
            If a key or value is wrong.

        Examples
        --------
        >>> Protocol.load("aba").replace(record_every=100).spec.record_every
        100
        """
        source = self.source
        return Protocol.from_dict({**self.to_dict(), **changes}, source.folder, source.trust)

    def draw_starts(self, seed: int | None = None) -> tuple[Overlaps, ...]:
        """Return the networks that the cohort starts from.

        Parameters
        ----------
        seed : int, optional
            The protocol's own seed if not given.

        Returns
        -------
        tuple of Overlaps
            One per network; network k is the same whatever the size of the cohort.

        Raises
        ------
        InputError
            If no realisable network was drawn.
        """
        seed = self.spec.seed if seed is None else positive_int("seed", seed, minimum=0)
        spec = self.spec
        return tuple(
            draw_start(
                spec.cohort,
                {arm: spec.arms[arm] for arm in spec.arms_of(network)},
                self.sizes,
                spec.nonlinearity,
                np.random.default_rng(stream(seed, spec.number_of(network), START)),
            )
            for network in range(spec.n_networks)
        )

    # -- running ------------------------------------------------------------------------------

    def run(
        self,
        seed: int | None = None,
        n_jobs: int = 1,
        output: str | Path | None = None,
        progress: bool = False,
        starts: Sequence[Overlaps] | None = None,
    ) -> ProtocolResult:
        """Run every network through every arm.

        The numbers depend on the protocol, the seed and the starts only, bit for bit, whatever
        `n_jobs`. Within a network the arms are paired: the k-th time a task is trained it brings
        the same trials and noise in every arm.

        Parameters
        ----------
        seed : int, optional
            Seed of everything random; the protocol's own if not given.
        n_jobs : int, default 1
            Processes to run networks in; -1 for all cores.
        output : str or pathlib.Path, optional
            Folder for the results: each network when it is finished, then ``table.csv`` and
            ``failed.csv``. Run again with the same folder, the run continues where it stopped.
        progress : bool, default False
            Show a bar with the time left: on standard error, if that is a terminal, or below the
            cell of a notebook.
        starts : sequence of Overlaps, optional
            Networks to start from in place of the cohort, such as those fitted to a recording.

        Returns
        -------
        ProtocolResult
            The tables.

        Raises
        ------
        InputError
            If an argument is wrong, an arm cannot start from a network, a change of readout is not
            realisable, or the folder belongs to another run.
        """
        seed = self.spec.seed if seed is None else positive_int("seed", seed, minimum=0)
        if isinstance(n_jobs, bool) or not isinstance(n_jobs, int) or n_jobs == 0:
            raise InputError(f"n_jobs must be a whole number other than 0; got {n_jobs!r}.")
        networks = self.draw_starts(seed) if starts is None else self._given(starts)
        from predictlearn import __version__

        own = self._bounded(networks)
        content = own._plain()
        settings = {**content, "seed": seed, "version": __version__}
        with contextlib.ExitStack() as held:
            store = None
            if output is not None:
                key = run_key(content, seed, networks, __version__, own._array_bytes())
                about = {"name": self.name, "seed": seed, "version": __version__}
                store = held.enter_context(
                    Store.held(output, key, {**about, "networks": len(networks)})
                )
            records = own._records(networks, seed, n_jobs, store, progress)
            animals = animals_table(self.spec, len(networks), seed)
            result = ProtocolResult.collect(
                self.name, records, networks, self.spec.evaluate, seed, settings, animals
            )
            if store is not None:
                tables = {"table": result.table, "failed": result.failed}
                cohort = self.spec.cohort
                if cohort.animals or cohort.dropout or cohort.sizes:
                    tables["animals"] = animals
                store.write_tables(tables)
        return result

    def _bounded(self, networks: Sequence[Overlaps]) -> Protocol:
        """Return the protocol with so many epochs left out that its table fits into memory."""
        every = record_every(self.spec, len(networks), networks[0].sizes)
        if every == self.spec.record_every:
            return self
        warnings.warn(
            f"one epoch in {every} is kept, since all of them would be about "
            f"{rows_of(self.spec, len(networks), networks[0].sizes, 1):,} rows; state record_every "
            "in the protocol to keep others.",
            UserWarning,
            stacklevel=3,
        )
        return replace(self, spec=self.spec.model_copy(update={"record_every": every}))

    def _given(self, starts: Sequence[Overlaps]) -> tuple[Overlaps, ...]:
        """Return given starts, checked to suit the tasks and the arms."""
        starts = tuple(starts)
        if not starts:
            raise InputError("starts must hold at least one Overlaps; it is empty.")
        n_in, _, n_out = self.sizes
        for number, start in enumerate(starts):
            if not isinstance(start, Overlaps):
                raise InputError(
                    f"starts must hold Overlaps; item {number} is {type(start).__name__}."
                )
            if (start.n_in, start.n_out) != (n_in, n_out):
                raise InputError(
                    f"starts[{number}] has {start.n_in} input(s) and {start.n_out} output(s), but "
                    f"the tasks of protocol {self.name!r} have {n_in} and {n_out}."
                )
            if start.sizes != starts[0].sizes:
                raise InputError(
                    f"starts must have one rank; starts[0] has {starts[0].rank} and "
                    f"starts[{number}] {start.rank}."
                )
        self._check_groups(len(starts))
        # the cohort is not used, so its own names do not matter
        problems = [p for p in check_names(self.spec, starts[0].sizes) if p[0][0] != "cohort"]
        if problems:
            raise self.source.refuse(problems)
        for number, start in enumerate(starts):
            for name in self.spec.arms_of(number):
                try:
                    arm_start(start, self.spec.arms[name], self.spec.nonlinearity)
                except InputError as error:
                    raise InputError(
                        f"arm {name!r} cannot start from starts[{number}]: {error}"
                    ) from error
        return starts

    def _check_groups(self, n_starts: int) -> None:
        """Raise unless so many given starts can be shared out over arms of different animals."""
        cohort = self.spec.cohort
        if cohort.design == "between" and cohort.sizes and n_starts % self.spec.n_networks:
            raise InputError(
                f"starts must be {self.spec.n_networks}, as many as the sizes of the groups add up "
                f"to, or a multiple of that; got {n_starts}."
            )
        if cohort.design == "between" and n_starts % len(self.arms) and not cohort.sizes:
            raise InputError(
                f"starts must be as many for each of the {len(self.arms)} arms, which are "
                f"different animals (design: between); got {n_starts}."
            )

    def _array_bytes(self) -> bytes:
        """Return the content of tasks that come from files and code, for the digest of a run."""
        arrays = [task for task in self.tasks.values() if isinstance(task, ArrayTask)]
        return b"".join(
            np.asarray(part).tobytes()
            for task in arrays
            for part in (task.inputs, task.targets, task.weights, task.offset, task.smoothing)
        ) + b"".join(  # a world stands in the protocol itself
            shown_bytes(self.tasks[name])
            for name, content in self.spec.tasks.items()
            if content.get("type") in (GIVEN, PYTHON)
        )

    def _for_workers(self, n_jobs: int) -> dict[str, AnyTask] | TasksOfFile:
        """Return the tasks, such that a worker finds the code of those of a file."""
        in_file = any(content.get("type") == PYTHON for content in self.spec.tasks.values())
        if n_jobs == 1 or not in_file:
            return dict(self.tasks)
        return TasksOfFile.packed(self.tasks, self.source.folder)

    def _records(
        self,
        networks: Sequence[Overlaps],
        seed: int,
        n_jobs: int,
        store: Store | None,
        progress: bool,
    ) -> Iterator[NetworkRecord]:
        """Yield the record of every network in order, from disk or computed."""
        todo = [k for k in range(len(networks)) if store is None or not store.has(k)]
        settings: Any = {"return_as": "generator", "max_nbytes": None, "keep": store is None}
        tasks = self._for_workers(n_jobs)
        computed = Parallel(n_jobs=n_jobs, **settings)(
            delayed(run_network)(self.spec, tasks, networks[k], k, seed, store) for k in todo
        )
        try:
            with Bar(f"{self.name}: networks", progress, soon=0.0) as bar:
                for k in range(len(networks)):
                    if store is not None and k not in todo:
                        yield store.read(k)
                    else:
                        yield next(computed)
                    bar.count(k + 1, len(networks))
        finally:
            with warnings.catch_warnings():
                # after an error or an interruption joblib warns that it cancels what is queued
                warnings.simplefilter("ignore", UserWarning)
                computed.close()
