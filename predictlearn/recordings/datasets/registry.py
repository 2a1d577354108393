"""The data sets that predictlearn knows by name, and where to find them."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from predictlearn.doors import readable, reading
from predictlearn.errors import InputError, choice

__all__ = [
    "Dataset",
    "cache_folder",
    "data_folder",
    "datasets",
    "described",
    "digest",
    "find_dataset",
    "is_registered",
    "located",
]

_RAW = "https://raw.githubusercontent.com"


@dataclass(frozen=True)
class Dataset:
    """One data set known by name.

    Parameters
    ----------
    name : str
        Name used on the command line.
    description : str
        One sentence.
    kind : {"recording", "behaviour"}
        Whether it holds neural activity.
    licence : str
        Its licence.
    citation : str
        The work to cite.
    repository, commit, path : str
        Public GitHub repository, commit and file there; empty where it ships.
    folder : str
        Folder of the file under a data folder.
    sha256 : str
        Checksum of the file; empty where it ships.
    size : int
        Bytes of the file; 0 where it ships.
    simulated : bool
        Whether the activity was simulated.
    has_case : bool
        Whether ``predictlearn fit`` and ``predict`` take it by name.
    """

    name: str
    description: str
    kind: str
    licence: str
    citation: str
    repository: str = ""
    commit: str = ""
    path: str = ""
    folder: str = ""
    sha256: str = ""
    size: int = 0
    simulated: bool = False
    has_case: bool = False

    @property
    def ships(self) -> bool:
        """Whether it comes with predictlearn."""
        return not self.repository

    @property
    def url(self) -> str:
        """Where the file is downloaded from; empty where it ships."""
        return "" if self.ships else f"{_RAW}/{self.repository}/{self.commit}/{self.path}"

    @property
    def source(self) -> str:
        """Where it comes from, in words."""
        if self.ships:
            return "datasets/make_simulated.py of predictlearn"
        return (
            f"public GitHub repository {self.repository}, commit {self.commit}, "
            f"file {self.path} ({self.licence})"
        )

    @property
    def file(self) -> Path:
        """The file, relative to a data folder."""
        return Path(self.folder) / Path(self.path).name

    @property
    def place(self) -> str:
        """Where it is, or where to put it."""
        if self.ships:
            return "ships with predictlearn"
        return f"{self.file.as_posix()} under the folder that PREDICTLEARN_DATA names"


_DATASETS = (
    Dataset(
        name="simulated-learning",
        description="SIMULATED spike counts of a 300-neuron erf network that learns, 5 sessions",
        kind="recording",
        licence="MIT",
        citation="predictlearn",
        simulated=True,
        has_case=True,
    ),
    Dataset(
        name="bci-learning",
        description="Monkey N learns a perturbed brain-computer interface (Hennig et al. 2021)",
        kind="recording",
        licence="BSD 3-Clause",
        citation="Hennig et al. (2021), eLife 10, e64812",
        repository="mobeets/neural-engagement",
        commit="ab2f1ec3f425",
        path="data/preprocessed/20160728.mat",
        folder="bci-learning-hennig2021",
        sha256="b85acca4f49d6c60670b9c75ea3c25304abdd2294dc78743dcbddb7f24999d96",
        size=2050360,
        has_case=True,
    ),
    Dataset(
        name="bci-redundancy",
        description="Spike counts of 87 units under two brain-computer interface mappings",
        kind="recording",
        licence="MIT",
        citation="Hennig et al. (2018), eLife 7, e36774",
        repository="mobeets/neural-redundancy-elife2018",
        commit="e130df7f0f9c",
        path="data/sessions/20131218.mat",
        folder="bci-redundancy-hennig2018",
        sha256="9061414f759c53cc676db3964a9682ff09d4a08762876b7c57632e30a15180d3",
        size=2344479,
    ),
    Dataset(
        name="bci-golub",
        description="Counts before and after a mapping was learned; sampled points of 8 directions",
        kind="recording",
        licence="BSD 3-Clause",
        citation="Golub et al. (2018), Nature Neuroscience 21, 607",
        repository="mattgolub/bci_learning",
        commit="3e6f00c95909",
        path="exampleData.mat",
        folder="bci-golub2018",
        sha256="f28fab9442dd0564aab00597796785665f1c3d4b4437e3802c4c99c9696512b1",
        size=252829,
    ),
    Dataset(
        name="nwb-spikes",
        description="A small NWB file: 3 units, 1087 s, no trials table",
        kind="recording",
        licence="MIT",
        citation="Viejo et al. (2023), eLife 12, RP85786 (pynapple)",
        repository="pynapple-org/pynapple",
        commit="7ac20f7a5232",
        path="tests/nwbfilestest/phy/pynapplenwb/A8604-211122.nwb",
        folder="nwb-real-spikes",
        sha256="6c9913f1a36c43dc627a541f4e521eb17e305879eb4d9bce949f77970994ac22",
        size=442304,
    ),
    Dataset(
        name="archerfish",
        description="Behaviour: 7 archerfish adapt to a perturbation, 2146 trials",
        kind="behaviour",
        licence="MIT",
        citation="volotsky-s/motor-adaptation-archerfish",
        repository="volotsky-s/motor-adaptation-archerfish",
        commit="e9604651b8e8",
        path="motor_adaptation_archerfish.csv",
        folder="archerfish-motor-adaptation",
        sha256="eacef15bed8efe1b0d7fb5cc3f75ca3171cae56b6ad5cfb4ac765f4d78e9b452",
        size=93952,
    ),
    Dataset(
        name="rat-choices",
        description="Behaviour: one rat learns a two-alternative task, 80 sessions; pickled",
        kind="behaviour",
        licence="MIT",
        citation="Roy et al. (2021), Neuron 109, 597 (psytrack)",
        repository="nicholas-roy/psytrack",
        commit="3278d6bcc3f7",
        path="psytrack/examples/sampleRatData.npz",
        folder="rat-learning-psytrack",
        sha256="3e3ac83f24b873197515f6cedcb1776bdf0969c35457a027392016b6f21dc6ec",
        size=117528,
    ),
)


def datasets() -> tuple[Dataset, ...]:
    """List the data sets known by name.

    Returns
    -------
    tuple of Dataset
        Name, source, licence, checksum, and where each is or is to be put.

    Examples
    --------
    >>> [d.name for d in datasets()][:2]
    ['simulated-learning', 'bci-learning']
    >>> datasets()[1].url.split("/")[3:5]
    ['mobeets', 'neural-engagement']
    """
    return _DATASETS


def known_dataset(name: str) -> Dataset:
    """Return the data set of a name, or raise InputError with the nearest one."""
    choice("dataset", name, [d.name for d in _DATASETS])
    return next(d for d in _DATASETS if d.name == name)


def data_folder() -> Path:
    """Give the folder in which data sets that do not ship are looked for first.

    Returns
    -------
    Path
        What the environment variable PREDICTLEARN_DATA names; without it, `cache_folder`. Nowhere
        else is looked, so that no folder that somebody else filled is read. It need not exist.
    """
    named = os.environ.get("PREDICTLEARN_DATA")
    return Path(named).expanduser() if named else cache_folder()


def cache_folder() -> Path:
    """Give the folder into which data sets are downloaded.

    Returns
    -------
    Path
        What the environment variable PREDICTLEARN_CACHE names; without it, the user's cache folder
        of the operating system. It need not exist.
    """
    named = os.environ.get("PREDICTLEARN_CACHE")
    if named:
        return Path(named).expanduser()
    import pooch

    return Path(pooch.os_cache("predictlearn"))


def find_dataset(name: str) -> Path:
    """Find a data set by name.

    Parameters
    ----------
    name : str
        One of the names of `datasets`.

    Returns
    -------
    Path
        The file: in `data_folder`, or in the cache. Its checksum is the registered one.

    Raises
    ------
    InputError
        An unknown name; a data set that is not there: names where it was looked for, its public
        source, how to download it and where to put it; a file with another checksum.
    """
    item = known_dataset(name)
    file = located(name)
    if item.ships:
        if file is None:
            raise InputError(
                f"{_shipped()} is missing; make it by running datasets/make_simulated.py"
            )
        return file
    place = data_folder() / item.file
    if file is None:
        raise InputError(
            f"data set {name} is not at {place}. It is the {item.source}. Download it with "
            f"`predictlearn datasets get {name}`, or put that file there, or put it as "
            f"{item.file.as_posix()} into any folder and set PREDICTLEARN_DATA to that folder."
        )
    found = digest(file)
    if found != item.sha256:
        raise InputError(
            f"{file} is not the registered file of the data set {name}: its sha256 is "
            f"{found[:16]}..., not {item.sha256[:16]}..., so that it was changed or is damaged, "
            f"and it was not opened. Get it anew from the {item.source}, or with `predictlearn "
            f"datasets get {name} --again`; another file in that format is read by its path "
            "(--file)."
        )
    return file


def located(name: str) -> Path | None:
    """Return where a data set is, unchecked.

    Parameters
    ----------
    name : str
        One of the names of `datasets`.

    Returns
    -------
    Path or None
        The file in `data_folder`, or else in the cache; None where it is in neither.
    """
    item = known_dataset(name)
    places = [_shipped()] if item.ships else [data_folder() / item.file, cache_folder() / item.file]
    return next((file for file in places if file.is_file()), None)


def _shipped() -> Path:
    """Return the file that comes with predictlearn."""
    from predictlearn.resources import resource_folder

    return resource_folder("datasets") / "simulated-learning.npz"


def is_registered(name: str, file: Path) -> bool:
    """Say whether a file is the one that is registered under a name.

    Parameters
    ----------
    name : str
        One of the names of `datasets`.
    file : Path
        The file.

    Returns
    -------
    bool
        Whether its checksum is the registered one; of what ships, whether it is the same bytes.

    Raises
    ------
    InputError
        The file is not there.
    """
    item = known_dataset(name)
    wanted = digest(find_dataset(name)) if item.ships else item.sha256
    return digest(file) == wanted


def described(name: str, file: Path) -> dict[str, Any]:
    """Return what metadata say of a file that was read in the format of a data set.

    Parameters
    ----------
    name : str
        One of the names of `datasets`.
    file : Path
        The file.

    Returns
    -------
    dict
        ``name``, ``source``, ``licence`` and ``file``: those of the data set if it is the
        registered file, else those of the file itself.

    Raises
    ------
    InputError
        The file is not there.
    """
    item = known_dataset(name)
    if is_registered(name, file):
        return {"name": name, "source": item.source, "licence": item.licence, "file": file.name}
    return {
        "name": file.stem,
        "source": f"{file.name} (SHA-256 {digest(file)[:16]}...), in the format of {name}; it is "
        "not the registered file of that name",
        "licence": "not known",
        "file": file.name,
    }


def digest(file: Path) -> str:
    """Return the checksum of a file.

    Parameters
    ----------
    file : Path
        The file.

    Returns
    -------
    str
        Its SHA-256.

    Raises
    ------
    InputError
        No file, or one that cannot be read.
    """
    with reading(file, "a file"), readable(file, "a file").open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
