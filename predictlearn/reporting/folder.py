"""Writing a set of files into a folder: whole or not at all, and never over a person's files."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from predictlearn.errors import InputError
from predictlearn.files import locked, output_folder, refuse_links, write_atomically

__all__ = ["MANIFEST", "check_folder", "held_folder", "write_files"]

MANIFEST = "predictlearn-manifest.json"
_MAKER = "predictlearn report"
_PAGE = "index.html"
# What is to be moved where, in a workspace whose files are all written.
_JOURNAL = "journal.json"
_WORKSPACE = re.compile("[0-9a-f]{12}")
# What `predictlearn run` keeps its networks by.
_RUN = "protocol.json"


def _digest(content: bytes) -> str:
    """Return the SHA-256 of some bytes as hexadecimal text."""
    return hashlib.sha256(content).hexdigest()


def _made_before(folder: Path) -> dict[str, str] | None:
    """Return the hashes by path of what predictlearn made in a folder, None without a manifest."""
    try:
        content: Any = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if content["made_by"] != _MAKER:
            return None
        files = {str(path): str(digest) for path, digest in content["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # absent, or not a manifest of ours: then nothing in this folder is ours
        return None
    # a manifest that was tampered with must not lead outside the folder
    return {path: digest for path, digest in files.items() if _inside(folder, path)}


def _inside(folder: Path, path: str) -> bool:
    """Return whether a path of a manifest stays inside the folder, by its text and on disk."""
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or not parts.parts:
        return False
    return not any((folder / up).is_symlink() for up in parts.parents if up.parts)


def _ours(path: Path, digest: str | None) -> bool:
    """Return whether a file is one that predictlearn made and nobody changed since."""
    return (
        digest is not None
        and path.is_file()
        and not path.is_symlink()
        and _digest(path.read_bytes()) == digest
    )


def _conflicts(folder: Path, targets: set[str], made: Mapping[str, str] | None) -> list[str]:
    """Return the files that may not be replaced, each with the reason."""
    found = []
    for path in sorted(targets | set(made or {})):
        file = folder / path
        if not os.path.lexists(file) or _ours(file, (made or {}).get(path)):
            continue
        if path in (made or {}):
            found.append(f"{path} (changed since predictlearn made it)")
        elif path != MANIFEST or made is None:
            found.append(f"{path} (not made by predictlearn)")
    return found


def _resolved(folder: str | os.PathLike[str]) -> Path:
    """Return the folder as an absolute path that is, or can become, a folder."""
    path = output_folder(folder).resolve()
    for part in (path, *path.parents):
        if part.exists():
            if not part.is_dir():
                raise InputError(f"output must be a folder; {part} is a file.")
            break
    if path == path.parent:
        raise InputError("output must be a folder of its own, not the root of the file system.")
    return path


def _refuse_others(folder: Path, command: str) -> None:
    """Raise if the folder holds what another command made: neither is lost, nor are they mixed."""
    try:
        content: Any = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        before = content["command"] if content["made_by"] == _MAKER else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        before = None  # nothing of ours, or of a version that did not say
    if (folder / _RUN).is_file() and command in ("fit", "predict"):
        before = "run"
    if isinstance(before, str) and before != command:
        made, now = (
            f"`predictlearn {c}`" if c else "a report of Python" for c in (before, command)
        )
        raise InputError(
            f"{folder} holds the result of {made}, which {now} would replace or mix with its own; "
            "choose another folder."
        )


def check_folder(
    folder: str | os.PathLike[str], overwrite: bool = False, *, command: str = ""
) -> Path:
    """Refuse a folder that a report could not be written to, before anything is computed.

    Parameters
    ----------
    folder : path
        Where the report is to go; need not exist.
    overwrite : bool, default False
        Whether files that predictlearn did not make, or that were changed, may be replaced.
    command : str, default ""
        What is to write there.

    Returns
    -------
    pathlib.Path
        The folder, absolute.

    Raises
    ------
    InputError
        If it is a file, holds a page or manifest that predictlearn did not make, files that
        predictlearn made and a person changed, or what another command made.

    Examples
    --------
    >>> check_folder("a-report-to-come").name
    'a-report-to-come'
    """
    path = _resolved(folder)
    if not path.parent.is_dir():
        return path
    with _held(path):
        _finish_killed(path)
        _refuse_others(path, command)
        if not overwrite:
            _refuse(path, _conflicts(path, {_PAGE, MANIFEST}, _made_before(path)))
    return path


def _held(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Hold a folder, which need not exist, by a file beside it."""
    return locked(folder.parent / f".{folder.name}.lock", folder)


@contextlib.contextmanager
def held_folder(
    folder: str | os.PathLike[str], overwrite: bool = False, *, command: str = ""
) -> Iterator[Path]:
    """Hold a folder for this process, from before the work until its report is written.

    Parameters
    ----------
    folder, overwrite, command
        As of `check_folder`.

    Yields
    ------
    pathlib.Path
        The folder, absolute.

    Raises
    ------
    InputError
        As of `check_folder`, or if another process holds it.
    """
    path = _resolved(folder)
    with _held(path):
        yield check_folder(path, overwrite, command=command)


def _refuse(folder: Path, conflicts: list[str]) -> None:
    """Raise if there are conflicts."""
    if conflicts:
        shown = ", ".join(conflicts[:5]) + (" and others" if len(conflicts) > 5 else "")
        raise InputError(
            f"{folder} holds files that would be lost: {shown}. Choose another folder, move them "
            "away, or ask to overwrite."
        )


def write_files(
    folder: str | os.PathLike[str],
    files: Mapping[str, bytes],
    overwrite: bool = False,
    *,
    command: str = "",
) -> Path:
    """Write files into a folder, with a manifest, whole or not at all.

    Everything is written to a new folder beside the target first and moved when complete. If a
    move fails, what was there before is put back.

    Parameters
    ----------
    folder : path
        The target; made if it does not exist.
    files : mapping of str to bytes
        Content by path within the folder, with forward slashes.
    overwrite : bool, default False
        Replace files that predictlearn did not make, or that were changed since.
    command : str, default ""
        What writes them, for the manifest; what another command made is never replaced.

    Returns
    -------
    pathlib.Path
        The folder, absolute.

    Raises
    ------
    InputError
        If files would be lost, or mixed with what another command made; nothing is written then.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     folder = write_files(place + "/new", {"tables/a.csv": b"x"})
    ...     (folder / "tables" / "a.csv").read_text()
    'x'
    """
    target = _resolved(folder)
    with _held(target):
        _finish_killed(target)
        _write(target, files, overwrite, command)
    return target


def _write(target: Path, files: Mapping[str, bytes], overwrite: bool, command: str) -> None:
    """Write files into a folder that this process holds; see `write_files`."""
    _refuse_others(target, command)
    made = _made_before(target)
    if not overwrite:
        _refuse(target, _conflicts(target, {*files, MANIFEST}, made))
    for path in files:
        refuse_links(target, (target / path).parent)
        for place in (target / path, *(target / path).parents):
            # a file cannot take the place of a folder, nor a folder that of a file
            wrong = place.is_dir() if place == target / path else place.is_file()
            if wrong and place != target:
                kind = "a folder" if place.is_dir() else "a file"
                raise InputError(f"{place} is {kind} and stands in the way of the report; move it.")
    stale = [path for path, digest in (made or {}).items() if path not in files]
    stale = [path for path in stale if _ours(target / path, (made or {})[path])]
    manifest = {
        "made_by": _MAKER,
        "command": command,
        "note": "Files that predictlearn made here, with their SHA-256; it replaces no others.",
        "files": {path: _digest(content) for path, content in sorted(files.items())},
    }
    content = {**files, MANIFEST: (json.dumps(manifest, indent=2) + "\n").encode()}
    with _parents(target), _workspace(target) as work:
        new, old = work / "new", work / "old"
        for path, data in content.items():
            (new / path).parent.mkdir(parents=True, exist_ok=True)
            (new / path).write_bytes(data)
        if target.exists():
            _write_journal(work, target, content, stale)
            _exchange(target, new, old, list(content), stale)
        else:
            new.rename(target)


def _write_journal(
    work: Path, target: Path, content: Mapping[str, bytes], stale: list[str]
) -> None:
    """Say what is to be moved: from here on, a process that is killed is finished by the next."""
    there = [path for path in (*content, *stale) if (target / path).is_file()]
    journal = {
        "new": {path: _digest(data) for path, data in content.items()},
        "before": {path: _digest((target / path).read_bytes()) for path in there},
        "stale": stale,
    }
    text = json.dumps(journal).encode()
    write_atomically(work / _JOURNAL, lambda stream: stream.write(text))


def _finish_killed(target: Path) -> None:
    """Finish what a killed process had begun to move into a folder, and remove what it left.

    Nothing that a person changed since is replaced. The folder is held, so nobody is at work.
    """
    for work in target.parent.glob(f".{glob.escape(target.name)}.*"):
        if not _WORKSPACE.fullmatch(work.name[len(target.name) + 2 :]) or work.is_symlink():
            continue
        if (work / _JOURNAL).is_file():
            _move_rest(target, work)
        elif any(path.is_file() for path in (work / "old").rglob("*")):
            continue  # what an undoing could not put back, for the user
        _discard(work)


def _discard(work: Path) -> None:
    """Remove a workspace; the journal stays until no old file is left, so that a kill is seen."""
    shutil.rmtree(work / "old", ignore_errors=True)
    shutil.rmtree(work, ignore_errors=True)


def _move_rest(target: Path, work: Path) -> None:
    """Move what a journal says and has not been moved yet."""
    try:
        journal: Any = json.loads((work / _JOURNAL).read_text(encoding="utf-8"))
        new, before, stale = (journal[key] for key in ("new", "before", "stale"))
    except (OSError, ValueError, KeyError, TypeError):
        return  # not a journal of ours: nothing is moved
    for path, digest in new.items():
        here, there = work / "new" / path, target / path
        if not _inside(target, path) or not _ours(here, digest):
            continue
        if not os.path.lexists(there) or _ours(there, before.get(path)):
            there.parent.mkdir(parents=True, exist_ok=True)
            os.replace(here, there)
    for path in stale:
        if not _inside(target, path):
            continue
        if _ours(target / path, before.get(path)):
            (target / path).unlink()
        # also where it was killed after the file was moved, before its folder was removed
        _remove_empty(target, (target / path).parent)


def _remove_empty(target: Path, folder: Path) -> None:
    """Remove a folder inside the target if nothing is left in it."""
    if folder != target and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


@contextlib.contextmanager
def _parents(target: Path) -> Iterator[None]:
    """Make the folders above the target; on failure remove those that were made."""
    absent = [folder for folder in target.parents if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for folder in absent:
            with contextlib.suppress(OSError):  # somebody else has put something there
                folder.rmdir()
        raise


@contextlib.contextmanager
def _workspace(target: Path) -> Iterator[Path]:
    """Give a new folder beside the target, on the same file system, removed at the end."""
    work = target.parent / f".{target.name}.{uuid.uuid4().hex[:12]}"
    # made by mkdir, so that what is moved out of it has the permissions of the user's own files
    (work / "new").mkdir(parents=True)
    (work / "old").mkdir()
    try:
        yield work
    finally:
        lost = sys.exc_info()[0] is not None and any(
            path.is_file() for path in (work / "old").rglob("*")
        )
        # what could not be put back is kept there rather than deleted
        if not lost:
            _discard(work)


def _exchange(target: Path, new: Path, old: Path, paths: list[str], stale: list[str]) -> None:
    """Move new files into an existing folder and old ones out; undo all of it on any failure."""
    aside: list[str] = []
    placed: list[str] = []
    made: list[Path] = []
    try:
        for path in (*paths, *stale):
            if os.path.lexists(target / path):
                (old / path).parent.mkdir(parents=True, exist_ok=True)
                aside.append(path)
                os.replace(target / path, old / path)
        for path in paths:
            folder = (target / path).parent
            if not folder.exists():
                folder.mkdir(parents=True)
                made.append(folder)
            placed.append(path)
            os.replace(new / path, target / path)
    except BaseException:
        for path in placed:
            if not (new / path).exists():
                (target / path).unlink(missing_ok=True)
        for path in aside:
            if os.path.lexists(old / path):
                os.replace(old / path, target / path)
        for folder in reversed(made):
            with contextlib.suppress(OSError):  # not empty: not ours alone
                folder.rmdir()
        raise
    for path in stale:
        _remove_empty(target, (target / path).parent)
