"""Where the files that ship with predictlearn are, in a checkout or an installed wheel."""

from __future__ import annotations

from pathlib import Path

from predictlearn.errors import InputError, choice

__all__ = ["resource_folder"]

_FOLDERS = ("datasets", "protocols")


def resource_folder(name: str) -> Path:
    """Return the folder of shipped ``"datasets"`` or ``"protocols"``.

    Parameters
    ----------
    name : {"datasets", "protocols"}
        Which folder.

    Returns
    -------
    pathlib.Path
        An existing folder: inside the package when installed from a wheel, beside it in a checkout.

    Raises
    ------
    InputError
        If the name is another one, or the installation lacks the folder.

    Examples
    --------
    >>> resource_folder("protocols").is_dir()
    True
    """
    choice("name", name, _FOLDERS)
    package = Path(__file__).resolve().parent
    for folder in (package / "_resources" / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise InputError(f"this installation of predictlearn has no {name} folder; reinstall it.")
