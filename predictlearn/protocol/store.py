"""Finished networks on disk, so that an interrupted run continues where it stopped."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.errors import InputError
from predictlearn.files import (
    is_leftover,
    locked,
    output_folder,
    refuse_links,
    safe_table,
    write_atomically,
)
from predictlearn.protocol.engine import Failure, NetworkRecord, PhaseRecord
from predictlearn.theory.overlaps import Overlaps

__all__ = ["Store", "run_key"]

_MANIFEST = "protocol.json"
_LABELS = ("arm", "phase", "task", "before", "learner", "session")
_ARRAYS = ("epochs", "losses", "values", "evaluations", "loadings", "stacked", "measured")


def run_key(
    content: Mapping[str, Any], seed: int, starts: Sequence[Overlaps], version: str, tasks: bytes
) -> str:
    """Return a digest of everything that decides the numbers of a run."""
    digest = hashlib.sha256()
    decisive = {key: value for key, value in content.items() if key != "description"}
    digest.update(json.dumps([decisive, seed, version], sort_keys=True).encode())
    for start in starts:
        digest.update(repr(start.sizes).encode() + start.matrix.tobytes())
    digest.update(tasks)
    return digest.hexdigest()


class Store:
    """A folder of finished networks that belongs to one protocol, seed and set of starts.

    Parameters
    ----------
    folder : path
        Created if absent. Where other processes may use it, work within `held`.
    key : str
        Digest of the run, see `run_key`.
    about : mapping
        Written beside it for people to read.

    Raises
    ------
    InputError
        If the folder belongs to another run, or holds files that are not a run's.
    """

    def __init__(self, folder: str | Path, key: str, about: Mapping[str, Any]) -> None:
        self.folder = folder = output_folder(folder).absolute()
        if folder.exists() and not folder.is_dir():
            raise InputError(f"output must be a folder; {folder} is a file.")
        manifest = folder / _MANIFEST
        if manifest.is_file():
            self._check_owner(manifest, key, about)
        elif folder.is_dir() and not all(is_leftover(path) for path in folder.iterdir()):
            raise InputError(
                f"output must be a new or empty folder, or one that holds this run; {folder} "
                "holds other files. Choose another."
            )
        else:
            folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"key": key, **about}, indent=2)
            write_atomically(manifest, lambda stream: stream.write(text.encode()))
        networks = folder / "networks"
        refuse_links(folder, networks)
        networks.mkdir(exist_ok=True)

    @classmethod
    @contextmanager
    def held(cls, folder: str | Path, key: str, about: Mapping[str, Any]) -> Iterator[Store]:
        """Give the store of a folder to this process alone.

        Parameters
        ----------
        folder, key, about
            As of the class.

        Yields
        ------
        Store
            Without what a killed process left unfinished.

        Raises
        ------
        InputError
            As of the class, or if another process works in the folder.
        """
        place = output_folder(folder).absolute()
        if place.exists() and not place.is_dir():
            raise InputError(f"output must be a folder; {place} is a file.")
        with locked(place / ".lock", place):
            store = cls(place, key, about)
            for path in (*place.iterdir(), *(place / "networks").iterdir()):
                if is_leftover(path) and path.name != ".lock":
                    path.unlink(missing_ok=True)
            yield store

    @staticmethod
    def _check_owner(manifest: Path, key: str, about: Mapping[str, Any]) -> None:
        """Raise unless the folder's run has this key."""
        try:
            owner = json.loads(manifest.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"output: {manifest} cannot be read ({error}).") from error
        if not isinstance(owner, dict) or owner.get("key") != key:
            said = owner if isinstance(owner, dict) else {}
            raise InputError(
                f"output: {manifest.parent} holds the run of protocol {said.get('name')!r} with "
                f"seed {said.get('seed')} by version {said.get('version')}, not this one (protocol "
                f"{about.get('name')!r}, seed {about.get('seed')}, version {about.get('version')}, "
                "the same settings and starts). Choose another folder, or remove that one."
            )

    def path(self, network: int) -> Path:
        """Return the file of a network."""
        return self.folder / "networks" / f"{network:05d}.npz"

    def has(self, network: int) -> bool:
        """Return whether a network is finished."""
        return self.path(network).is_file()

    def write(self, record: NetworkRecord) -> None:
        """Write a finished network."""
        about = {
            "network": record.network,
            "phases": [
                {name: getattr(p, name) for name in _LABELS}
                | {"names": list(p.names), "outcomes": list(p.outcomes)}
                for p in record.phases
            ],
            "failures": [
                [getattr(f, field.name) for field in fields(Failure)] for f in record.failures
            ],
        }
        arrays = {
            f"{name}_{k}": getattr(phase, name)
            for k, phase in enumerate(record.phases)
            for name in _ARRAYS
        }
        arrays["about"] = np.array(json.dumps(about))
        # in memory first: an archive that a full disk cuts short complains once more when it goes
        whole = io.BytesIO()
        np.savez(whole, **arrays)
        write_atomically(self.path(record.network), lambda stream: stream.write(whole.getbuffer()))

    def write_tables(self, tables: Mapping[str, pd.DataFrame]) -> None:
        """Write tables as CSV, by name; a spreadsheet runs nothing in them."""
        for name, table in tables.items():
            # piece by piece to the file: as bytes in memory it would be larger than the table
            write = partial(safe_table(table).to_csv, index=False, mode="wb", lineterminator="\n")
            write_atomically(self.folder / f"{name}.csv", write)

    def read(self, network: int) -> NetworkRecord:
        """Read a finished network, or raise InputError if its file is damaged."""
        path = self.path(network)
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                about = json.loads(str(stored["about"]))
                phases = tuple(
                    PhaseRecord(
                        **{name: labels[name] for name in _LABELS},
                        names=tuple(labels["names"]),
                        outcomes=tuple(labels["outcomes"]),
                        **{name: stored[f"{name}_{k}"] for name in _ARRAYS},
                    )
                    for k, labels in enumerate(about["phases"])
                )
                failures = tuple(Failure(*values) for values in about["failures"])
                return NetworkRecord(int(about["network"]), phases, failures)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(
                f"output: {path} is damaged ({error}); remove it and run again to compute that "
                "network anew."
            ) from error
