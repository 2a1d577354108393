"""The data sets that predictlearn knows by name, and where to find them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from predictlearn.errors import InputError, choice
from predictlearn.recordings.bci import FILE_NAME, SOURCE

__all__ = ["Dataset", "data_folder", "datasets", "find_dataset"]


_BCI_FOLDER = "bci-learning-hennig2021"


@dataclass(frozen=True)
class Dataset:
    """One data set known by name.

    Parameters
    ----------
    name : str
        Name used on the command line.
    description : str
        One sentence.
    source : str
        Where it comes from.
    licence : str
        Its licence.
    simulated : bool
        Whether the activity was simulated.
    ships : bool
        Whether it comes with predictlearn.
    place : str
        Where it is, or where to put it.
    """

    name: str
    description: str
    source: str
    licence: str
    simulated: bool
    ships: bool
    place: str


_DATASETS = (
    Dataset(
        name="simulated-learning",
        description="SIMULATED spike counts of a 300-neuron erf network that learns, 5 sessions",
        source="datasets/make_simulated.py of predictlearn",
        licence="MIT",
        simulated=True,
        ships=True,
        place="ships with predictlearn",
    ),
    Dataset(
        name="bci-learning",
        description="Monkey N learns a perturbed brain-computer interface (Hennig et al. 2021)",
        source=SOURCE,
        licence="BSD 3-Clause",
        simulated=False,
        ships=False,
        place=f"{_BCI_FOLDER}/{FILE_NAME} under the folder that PREDICTLEARN_DATA names",
    ),
)


def datasets() -> tuple[Dataset, ...]:
    """List the data sets known by name.

    Returns
    -------
    tuple of Dataset
        Name, source, licence, and where each is or is to be put.

    Examples
    --------
    >>> [d.name for d in datasets()]
    ['simulated-learning', 'bci-learning']
    """
    return _DATASETS


def _candidates() -> tuple[Path, ...]:
    """Return the folders in which data sets are looked for, in order."""
    named = os.environ.get("PREDICTLEARN_DATA")
    if named:
        return (Path(named),)
    here, root = Path.cwd(), Path(__file__).resolve().parents[2]
    # what an installed copy lies in is no checkout, and nothing is to be put beside it
    homes = [root, here] if (root / "pyproject.toml").is_file() and root != here else [here]
    return tuple(home.parent / "shared" / "data" for home in homes)


def data_folder() -> Path:
    """Give the folder in which data sets that do not ship are looked for.

    Returns
    -------
    Path
        What the environment variable PREDICTLEARN_DATA names; without it, the first that exists of
        ``../shared/data`` from the checkout that this code is in and ``../shared/data`` from the
        working directory. If none exists, the first: the folder need not exist.
    """
    candidates = _candidates()
    return next((folder for folder in candidates if folder.is_dir()), candidates[0])


def find_dataset(name: str) -> Path:
    """Find a data set by name.

    Parameters
    ----------
    name : str
        One of the names of `datasets`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        An unknown name, or a data set that is not there: names where it was looked for, its public
        source and where to put it.
    """
    choice("dataset", name, [d.name for d in _DATASETS])
    if name == "simulated-learning":
        from predictlearn.resources import resource_folder

        file = resource_folder("datasets") / "simulated-learning.npz"
        if not file.is_file():
            raise InputError(f"{file} is missing; make it by running datasets/make_simulated.py")
        return file
    place = Path(_BCI_FOLDER) / FILE_NAME
    tried = [folder / place for folder in _candidates()]
    found = next((file for file in tried if file.is_file()), None)
    if found is None:
        looked = " nor ".join(map(str, tried))
        raise InputError(
            f"data set {name} is not at {looked}. It is the {SOURCE}. Put that file there, or put "
            f"it as {place} into any folder and set PREDICTLEARN_DATA to that folder."
        )
    return found
