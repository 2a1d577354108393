"""Downloads of public data sets into the user's cache, checked by their checksums."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any, Protocol

from predictlearn.errors import InputError
from predictlearn.recordings.datasets.registry import (
    cache_folder,
    digest,
    find_dataset,
    known_dataset,
    located,
)

__all__ = ["ProgressBar", "download_dataset"]

# Seconds without an answer, and bytes taken at a time.
_TIMEOUT, _PIECE = 30.0, 1 << 15
# A download may take so many seconds, and more at so many bytes a second.
_PATIENCE, _SLOWEST = 60.0, 10_000.0


class ProgressBar(Protocol):
    """What is told how far a download is."""

    total: int

    def update(self, n: int) -> None:
        """Add bytes that came."""
        ...

    def reset(self) -> None:
        """Start again from nothing."""
        ...

    def close(self) -> None:
        """End."""
        ...


def download_dataset(
    name: str, *, again: bool = False, url: str | None = None, bar: ProgressBar | None = None
) -> Path:
    """Download a data set into the user's cache, unless it is found already.

    Parameters
    ----------
    name : str
        One of the names of `datasets`.
    again : bool, default False
        Download even where a copy is found; it goes into the cache.
    url : str, optional
        Another place to download the same file from, such as a mirror; the checksum stays.
    bar : ProgressBar, optional
        Told of the progress.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        An unknown name, no connection, an answer other than the file (more bytes than it has, or
        so slow that it would take for ever), or a file whose checksum is not the registered one.
        Nothing is left in the cache then.
    """
    item = known_dataset(name)
    target = cache_folder() / item.file
    found = located(name)
    # a copy in the cache that was changed is replaced; one that the user put elsewhere is refused
    if item.ships or (not again and found is not None and found != target):
        return find_dataset(name)
    if not again and found is not None and digest(found) == item.sha256:
        return found
    import pooch
    import requests

    address = item.url if url is None else url
    logger = pooch.get_logger()
    level = logger.level
    # what it would say is said by the caller
    logger.setLevel(logging.ERROR)
    try:
        # an old copy whose checksum is wrong is replaced, one whose checksum is right is kept
        pooch.retrieve(
            address,
            known_hash=f"sha256:{item.sha256}",
            fname=target.name,
            path=target.parent,
            downloader=_Stream(bar, item.size, address),
        )
    except requests.exceptions.HTTPError as error:
        code = error.response.status_code if error.response is not None else "an error"
        raise InputError(f"{address} answered {code}. {_by_hand(name)}") from error
    except InputError as error:
        raise InputError(f"{error} {_by_hand(name)}") from error
    except (requests.exceptions.RequestException, OSError) as error:
        kind = type(error).__name__
        raise InputError(f"could not download {address} ({kind}). {_by_hand(name)}") from error
    except ValueError as error:
        raise InputError(
            f"what {address} sent is not the registered file: its sha256 is not {item.sha256}. "
            f"It was thrown away. {_by_hand(name)}"
        ) from error
    finally:
        logger.setLevel(level)
    return target


class _Stream:
    """Writes what a server sends to a file, piece by piece; the connection ends with it.

    It takes no more bytes than the file has, and no longer than a slow line needs.
    """

    def __init__(self, bar: ProgressBar | None, size: int, address: str) -> None:
        self._bar, self._size, self._address = bar, size, address

    def __call__(self, url: str, file: str, pooch: Any) -> None:
        import requests

        longest = _PATIENCE + self._size / _SLOWEST
        until = time.monotonic() + longest
        with (
            requests.Session() as session,
            session.get(url, stream=True, timeout=_TIMEOUT) as response,
            open(file, "wb") as out,
        ):
            response.raise_for_status()
            said = response.headers.get("content-length", "")
            if self._bar is not None:
                self._bar.total = int(said) if said.isdigit() else 0
                self._bar.reset()
            came = 0
            for piece in response.iter_content(_PIECE):
                came += len(piece)
                if came > self._size:
                    raise InputError(
                        f"what {self._address} sends is not the registered file: that has "
                        f"{self._size} bytes, and more came. It was thrown away."
                    )
                if time.monotonic() > until:
                    raise InputError(
                        f"{self._address} sent {came} of {self._size} bytes in {longest:.0f} s, "
                        "which is too slow; what came was thrown away."
                    )
                out.write(piece)
                if self._bar is not None:
                    self._bar.update(len(piece))
        if self._bar is not None:
            self._bar.close()


def _by_hand(name: str) -> str:
    """Return how to do without the download."""
    item = known_dataset(name)
    return (
        f"To do it by hand, get the {item.source} and put it at {cache_folder() / item.file}, or "
        f"as {item.file.as_posix()} into the folder that PREDICTLEARN_DATA names."
    )
