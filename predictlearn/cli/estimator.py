"""How ``predictlearn fit`` and ``predictlearn predict`` set up the fit: one place for both."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from predictlearn.cli.reading import fit_settings
from predictlearn.errors import InputError

__all__ = ["Bin", "Folds", "Rank", "Ridge", "Starts", "estimator_settings"]

Rank = Annotated[
    str,
    typer.Option(help="Rank, or auto: by cross-validation of 1, 2 and 3. In Python `rank`."),
]
Ridge = Annotated[
    str | None,
    typer.Option(
        help="Penalty of the loadings, a number, or auto. In Python `ridge`.", show_default="auto"
    ),
]
Starts = Annotated[
    int | None,
    typer.Option(help="Starts of the search. In Python `n_starts`.", show_default="8"),
]
Bin = Annotated[
    str | None,
    typer.Option(
        "--bin",
        help="What a bin holds: mean (over the bin), euler (one step a bin), or auto: the mean "
        "unless euler is clearly more likely. In Python `bin`.",
        show_default="auto",
    ),
]
Folds = Annotated[
    int, typer.Option(help="Folds of the cross-validation over trials. In Python `cv`.")
]


def estimator_settings(
    nonlinearity: str | None,
    observed: str | None,
    tau: str | None,
    latency: str | None,
    gain: str | None,
    noise: str | None,
    ridge: str | None,
    starts: int | None,
    bins: str | None,
) -> dict[str, Any]:
    """Return the settings of `LowRankRNN` that were given on the command line.

    Parameters
    ----------
    nonlinearity, observed, tau, latency, gain, noise : str, optional
        As for `fit_settings`.
    ridge : str, optional
        A number or "auto".
    starts : int, optional
        Starts of the search.
    bins : str, optional
        What a bin holds.

    Returns
    -------
    dict
        Only those that were given.

    Raises
    ------
    InputError
        What must be a number and is none.
    """
    settings = fit_settings(nonlinearity, observed, tau, latency, gain, noise)
    if ridge is not None:
        try:
            settings["ridge"] = ridge if ridge == "auto" else float(ridge)
        except ValueError:
            raise InputError(f"--ridge must be a number or 'auto'; got {ridge!r}.") from None
    if starts is not None:
        settings["n_starts"] = starts
    if bins is not None:
        settings["bin"] = bins
    return settings
