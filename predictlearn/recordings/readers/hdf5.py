"""HDF5 files (.nwb, .mat of version 7.3): what is read of them lies in them, and has its size.

The library behind them does not come to an end in some damaged files, and crashes in others. On
Linux a child of this process tries a file first, with a limit on its time.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any

from predictlearn.doors import room
from predictlearn.errors import InputError

__all__ = ["check_dataset", "check_hdf5", "child", "is_reference", "stored", "try_hdf5"]

# what a child reads to try a file: seconds of work, objects, bytes of one data set and of all
_SECONDS, _OBJECTS_TRIED, _BYTES_TRIED, _BYTES_IN_ALL = 2, 3000, 1 << 24, 1 << 26

# how deep groups may stand in groups, and how many objects there may be
_DEEPEST, _MOST_OBJECTS = 64, 200_000
# what a series holds is read in parts, and checked then
_IN_PARTS = ("data", "timestamps")


def child(group: Any, name: str) -> Any:
    """Return an item of a group, if it lies in the same file.

    Parameters
    ----------
    group : h5py.Group
        The group.
    name : str
        Name of the item.

    Returns
    -------
    h5py.Group, h5py.Dataset or h5py.Datatype
        The item.

    Raises
    ------
    InputError
        It is a link to another file, or to nothing.
    """
    import h5py

    link = group.get(name, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        raise InputError(
            f"{name!r} is a link to another file ({link.filename!r}), and such links are not "
            "followed; copy what it leads to into this file"
        )
    if isinstance(link, h5py.SoftLink) and name not in group:
        raise InputError(f"{name!r} is a link to {link.path!r}, which is not there")
    return group[name]


def check_dataset(dataset: Any, whole: bool = True) -> None:
    """Refuse a data set that lies outside of its file or, where all of it is read, is too large.

    Parameters
    ----------
    dataset : h5py.Dataset
        The data set.
    whole : bool
        Whether all of it is read.

    Raises
    ------
    InputError
        It does.
    """
    name = str(dataset.name)
    if dataset.is_virtual or dataset.external:
        raise InputError(
            f"{name!r} lies in other files (virtual or external storage), which are not read; "
            "copy it into this file"
        )
    if whole and dataset.size:
        # numbers become floating point of eight bytes
        n_bytes = dataset.size * max(8, dataset.dtype.itemsize)
        room(repr(name), n_bytes, dataset.id.get_storage_size())


def is_reference(dataset: Any) -> bool:
    """Say whether a data set holds references to others, as cells do.

    Parameters
    ----------
    dataset : h5py.Dataset
        The data set.

    Returns
    -------
    bool
        Whether it does.
    """
    import h5py

    return h5py.check_ref_dtype(dataset.dtype) is h5py.Reference


def stored(dataset: Any) -> Any:
    """Return all of a data set.

    Parameters
    ----------
    dataset : h5py.Dataset
        The data set.

    Returns
    -------
    ndarray
        What it holds.

    Raises
    ------
    InputError
        It lies outside of the file, is too large, or has no axes at all (an empty data space).
    """
    check_dataset(dataset)
    if dataset.shape is None:
        raise InputError(f"{str(dataset.name)!r} holds nothing")
    return dataset[()]


def check_hdf5(raw: Any) -> None:
    """Refuse a file with links or storage outside of it, groups in themselves, or huge data sets.

    Parameters
    ----------
    raw : h5py.File
        The file.

    Raises
    ------
    InputError
        It has.
    """
    _look(raw, (), [0], set())


def try_hdf5(file: Path) -> None:
    """Let a child of this process read a file, and refuse the file if the child does not return.

    Parameters
    ----------
    file : Path
        The file. What the child meets that raises an error is left to the reader.

    Raises
    ------
    InputError
        The library crashed in it, or did not come to an end. (Only on Linux; elsewhere a process
        cannot be split safely, and nothing is tried.)
    """
    if sys.platform != "linux":
        return
    import h5py  # noqa: F401  # before the split, so that the child need not

    with warnings.catch_warnings():
        # the child runs nothing but the library, whose lock is made anew in it
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if process == 0:
        _try_and_exit(file)
    status = None
    try:
        status = os.waitpid(process, 0)[1]
    finally:
        if status is None:  # interrupted
            os.kill(process, 9)
            os.waitpid(process, 0)
    if os.WIFSIGNALED(status):
        late = os.WTERMSIG(status) in (9, 24)
        raise InputError(
            f"{file} is damaged: the HDF5 library "
            f"{'does not come to an end' if late else 'crashes'} in it; get or write it anew"
        )


def _try_and_exit(file: Path) -> None:
    """Read what there is of a file, within limits; never returns."""
    import faulthandler
    import resource

    import h5py

    try:
        faulthandler.disable()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS + 1))
        left = [_OBJECTS_TRIED, _BYTES_IN_ALL]

        def visit(name: str, item: Any) -> bool | None:
            left[0] -= 1
            dict(item.attrs)
            if isinstance(item, h5py.Dataset) and item.size and not item.is_virtual:
                n_bytes = item.size * item.dtype.itemsize
                if n_bytes <= min(_BYTES_TRIED, left[1]) and not item.external:
                    left[1] -= n_bytes
                    item[()]
            return True if left[0] < 0 else None

        with h5py.File(file, "r") as raw:
            raw.visititems(visit)
    except Exception:  # noqa: BLE001  # the reader meets it too, and says so
        os._exit(1)
    os._exit(0)


def _look(group: Any, above: tuple[int, ...], count: list[int], seen: set[int]) -> None:
    """Look through a group and what is below it."""
    import h5py

    place = h5py.h5o.get_info(group.id).addr
    if place in above:
        raise InputError(f"group {str(group.name)!r} is inside of itself")
    if len(above) > _DEEPEST:
        raise InputError(f"group {str(group.name)!r} is nested more than {_DEEPEST} deep")
    if place in seen:
        return
    seen.add(place)
    for name in group:
        count[0] += 1
        if count[0] > _MOST_OBJECTS:
            raise InputError(f"it has more than {_MOST_OBJECTS} objects")
        item = child(group, name)
        if isinstance(group.get(name, getlink=True), h5py.SoftLink):
            continue
        if isinstance(item, h5py.Group):
            _look(item, (*above, place), count, seen)
        elif isinstance(item, h5py.Dataset):
            check_dataset(item, whole=name not in _IN_PARTS)
