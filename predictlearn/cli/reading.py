"""What ``predictlearn fit`` and ``predictlearn predict`` share: what to read, and how to fit it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from predictlearn.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from predictlearn.recordings.recording import Recording

__all__ = [
    "Gain",
    "Latency",
    "Noise",
    "Nonlinearity",
    "Observed",
    "Read",
    "Tau",
    "fit_settings",
    "read_file",
    "read_options",
]

Nonlinearity = Annotated[str | None, typer.Option(help="linear or erf.", show_default="linear")]
Observed = Annotated[
    str | None,
    typer.Option(
        help="rate or current.", show_default="what the recording says; current with counts' noise"
    ),
]
Tau = Annotated[
    str | None, typer.Option(help="Time constant in seconds, or fit.", show_default="fit")
]
Latency = Annotated[
    str | None, typer.Option(help="Delay of inputs in seconds, or fit.", show_default="fit")
]
Gain = Annotated[
    str | None, typer.Option(help="Gain of all neurons, or fit (erf rates).", show_default="1")
]
Noise = Annotated[
    str | None,
    typer.Option(
        help="gaussian, or for spike counts poisson or negative-binomial.",
        show_default="gaussian",
    ),
]
Read = Annotated[
    list[str] | None,
    typer.Option(
        help="What to read of the file, for example inputs=onset or "
        "inputs='[{from: stim_on, to: stim_off, value: coherence}]'; may be repeated. The "
        "arguments of read_nwb, read_mat, from_table (.csv, .tsv), read_arrays.",
        metavar="KEY=VALUE",
        show_default=False,
    ),
]

# Seconds: no time constant of a neuron or a network of them is longer.
_LONGEST_TAU = 20.0

# of a table: what separates its columns
_TABLES = {".csv": ",", ".tsv": "\t"}


def fit_settings(
    nonlinearity: str | None,
    observed: str | None,
    tau: str | None,
    latency: str | None,
    gain: str | None,
    noise: str | None = None,
) -> dict[str, Any]:
    """Return the settings of a fit that were given on the command line.

    Parameters
    ----------
    nonlinearity, observed, tau, latency, gain, noise : str, optional
        As typed; None where not given.

    Returns
    -------
    dict
        Settings of `LowRankRNN`, only those that were given.

    Raises
    ------
    InputError
        What must be a number and is none.
    """
    settings: dict[str, Any] = {}
    settings |= {} if nonlinearity is None else {"nonlinearity": nonlinearity}
    settings |= {} if observed is None else {"observed": observed}
    settings |= {} if tau is None else {"tau": _tau(tau)}
    settings |= {} if latency is None else {"latency": _number_or_fit("--latency", latency)}
    if gain is not None:
        value = _number_or_fit("--gain", gain)
        settings["gain"] = True if value == "fit" else value
    if noise is not None:
        settings["noise"] = noise
        if noise != "gaussian" and observed is None:
            settings["observed"] = "current"  # the logarithm of the rate is linear in k
    return settings


def _tau(text: str) -> float | str:
    """Return the time constant; one in milliseconds is asked about."""
    tau = _number_or_fit("--tau", text)
    if not isinstance(tau, str) and tau > _LONGEST_TAU:
        raise InputError(
            f"--tau is in seconds, and no network of neurons has a time constant of {tau:g} s; "
            f"{tau:g} ms are --tau {tau / 1000:g}. (LowRankRNN(tau=...) in Python takes any.)"
        )
    return tau


def _number_or_fit(name: str, text: str) -> float | str:
    """Return a number of the command line, or "fit"."""
    if text == "fit":
        return text
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{name} must be a number or 'fit'; got {text!r}.") from None


def read_options(read: list[str] | None) -> dict[str, Any]:
    """Return the options of a reader; values are numbers, lists and words as in YAML.

    Parameters
    ----------
    read : list of str, optional
        KEY=VALUE, as typed.

    Returns
    -------
    dict
        Options by name.

    Raises
    ------
    InputError
        What is not KEY=VALUE, or not YAML, or a key that is given twice.
    """
    import yaml

    from predictlearn.doors import one_line
    from predictlearn.plain_yaml import parsed as plain_data

    options: dict[str, Any] = {}
    for text in read or ():
        key, equals, value = text.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise InputError(f"--read must be KEY=VALUE, for example inputs=onset; got {text!r}.")
        if key.strip() in options:
            raise InputError(
                f"--read {key.strip()} is given twice; several values are written as one list, "
                f"{key.strip()}=[a, b]."
            )
        try:
            parsed = plain_data(value)
        except (yaml.YAMLError, RecursionError) as error:
            raise InputError(
                one_line(
                    f"--read {key}: {value[:200]!r} is not YAML (text with other signs than "
                    f"letters stands in quotes): {error}"
                )
            ) from error
        # no reader takes true or false, and a column may be called so
        options[key.strip()] = value.strip() if isinstance(parsed, bool) else parsed
    return options


def read_file(path: str | Path, options: Mapping[str, Any]) -> Recording:
    """Read a recording from a file: an .npz, .nwb or .mat file, or a long table (.csv, .tsv).

    Parameters
    ----------
    path : path
        The file.
    options : mapping
        Options of its reader.

    Returns
    -------
    Recording
        The recording.

    Raises
    ------
    InputError
        No such file, one that cannot be read, or an option that its reader does not have.
    """
    from predictlearn.recordings.load import load_recording

    separator = _TABLES.get(Path(path).suffix.lower())
    if separator is None:
        return load_recording(path, **options)
    import inspect

    from predictlearn.doors import reading
    from predictlearn.errors import choice
    from predictlearn.recordings.readers.table import from_table
    from predictlearn.recordings.readers.table_file import EXPECTED, read_table

    known = [name for name in inspect.signature(from_table).parameters if name != "table"]
    with reading(path, EXPECTED):
        for name in options:
            choice("option", name, known)
        table = read_table(path, separator)
        return from_table(table, **{"name": Path(path).stem, **options})
