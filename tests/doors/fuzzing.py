"""Broken and hostile inputs for a door: each is read in a child with limits, and judged.

An input ends well if it is read, or refused by one `InputError` that names the file, in time and
memory. The child is a fork, so that a crash or an endless loop in a library costs one input only.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from predictlearn.errors import InputError

# seconds of work; where other processes share the machine, waiting may last some times as long
SECONDS, BYTES = 5.0, 1 << 30
_WAITING = 4
# a child may ask for more than it may use, so that what asks for it is seen
_NET = 8 << 30


class Case(NamedTuple):
    """What was done to an input, how it is read, and the name that a refusal must have in it."""

    what: str
    read: Callable[[], object]
    name: str


# from a number, a source of randomness and a folder to a case, whose files are written then
Make = Callable[[int, np.random.Generator, Path], Case]


def outcomes(make: Make, count: int, folder: Path, seed: int = 0) -> Iterator[tuple[str, str, str]]:
    """Yield what was done to each input, its verdict (read, refused, or what is wrong), and why."""
    done = 0
    while done < count:
        receive, send = os.pipe()
        with warnings.catch_warnings():
            # newer Pythons warn of a fork where threads run; the child starts none
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            os.close(receive)
            _child(make, range(done, count), folder, seed, send)
        os.close(send)
        what = "?"
        with os.fdopen(receive, "rb", buffering=0) as stream:
            for line in _lines(stream, _WAITING * SECONDS + 3):
                kind, *rest = json.loads(line)
                if kind == "begin":
                    what = rest[0]
                else:
                    done += 1
                    yield what, rest[0], rest[1]
                    what = "?"
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if done < count:
            done += 1
            ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
            hung = ended == signal.SIGKILL
            yield what, "slow" if hung else "crash", f"the process ended with {ended}"


def _lines(stream, seconds: float) -> Iterator[bytes]:
    """Yield lines until the end, or until none comes for some seconds."""
    rest = b""
    while select.select([stream], [], [], seconds)[0]:
        block = stream.read(1 << 16)
        if not block:
            return
        *lines, rest = (rest + block).split(b"\n")
        yield from lines


def _child(make: Make, numbers: range, folder: Path, seed: int, send: int) -> None:
    """Read inputs and tell of each; never returns."""
    import faulthandler
    import resource

    code = 1
    try:
        faulthandler.disable()
        gc.collect()
        gc.freeze()  # so that collecting before each input is quick
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + _NET, size + _NET))
        signal.signal(signal.SIGALRM, _late)
        signal.signal(signal.SIGPROF, _late)
        warnings.simplefilter("ignore")
        for number in numbers:
            place = folder / str(number)
            place.mkdir()
            case = make(number, np.random.default_rng([seed, number]), place)
            _tell(send, "begin", case.what)
            _tell(send, "end", *_judged(case))
        code = 0
    except BaseException:  # noqa: BLE001  # told, and the child ends
        traceback.print_exc()
    finally:
        os._exit(code)


def _tell(send: int, *words: str) -> None:
    os.write(send, json.dumps(words).encode() + b"\n")


class _Late(BaseException):
    """Raised when the time is over; no handler of errors catches it."""


def _late(*_: object) -> None:
    raise _Late


def _judged(case: Case) -> tuple[str, str]:
    """Return the verdict on one input, and what was said."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory counts from here
    before, begin = _kilobytes("VmRSS"), _worked()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, _WAITING * SECONDS)
    try:
        case.read()
        verdict, said = "read", ""
    except InputError as error:
        said = str(error)
        wrong = next((line for line in said.split("\n") if case.name not in line), None)
        verdict = "refused" if wrong is None and said.isprintable() else "unnamed"
        if verdict == "unnamed" and "\n" in said and wrong is None:
            verdict = "refused"  # a protocol: one line a problem
    except _Late:
        verdict, said = "slow", "".join(traceback.format_exc().splitlines()[-3:])
    except BaseException:  # noqa: BLE001  # this is what is looked for
        verdict, said = "traceback", traceback.format_exc()[-1500:]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
    took = _worked() - begin
    grown = 1024 * (_kilobytes("VmHWM") - before)
    if verdict in ("read", "refused", "unnamed"):
        if took > SECONDS:
            return "slow", f"{took:.1f} s: {said}"
        if grown > BYTES:
            return "memory", f"{grown / 1e9:.2f} GB: {said}"
    return verdict, said


def _worked() -> float:
    """Return the seconds that this process and its children have worked."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _kilobytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


def counted(make: Make, count: int, folder: Path, seed: int = 0) -> tuple[Counter[str], list[str]]:
    """Return how many inputs ended how, and in words those that did not end well."""
    tally: Counter[str] = Counter()
    wrong = []
    for what, verdict, said in outcomes(make, count, folder, seed):
        tally[verdict] += 1
        if verdict not in ("read", "refused"):
            wrong.append(f"{verdict}: {what}\n    {said}")
    return tally, wrong


# -- what is done to bytes ----------------------------------------------------------------------


def spoiled(content: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Return bytes with something done to them, and what it was."""
    kind = str(rng.choice(["flip", "bytes", "cut", "zero", "huge", "insert", "splice", "repeat"]))
    raw = bytearray(content)
    at = int(rng.integers(len(raw)))
    if kind == "flip":
        for place in rng.integers(len(raw), size=rng.integers(1, 9)):
            raw[place] ^= 1 << int(rng.integers(8))
    elif kind == "bytes":
        n = int(rng.integers(1, 40))
        raw[at : at + n] = rng.bytes(n)
    elif kind == "cut":
        del raw[at:]
    elif kind == "zero":
        n = int(rng.integers(1, 400))
        raw[at : at + n] = bytes(min(n, len(raw) - at))
    elif kind == "huge":
        number = int(rng.choice([2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1]))
        raw[at // 4 * 4 : at // 4 * 4 + 8] = number.to_bytes(8, "little")
    elif kind == "insert":
        raw[at:at] = rng.bytes(int(rng.integers(1, 100)))
    elif kind == "splice":
        other, n = int(rng.integers(len(raw))), int(rng.integers(1, 500))
        raw[at : at + n] = raw[other : other + n]
    else:
        n = int(rng.integers(1, 200))
        raw[at:at] = raw[at : at + n] * int(rng.integers(1, 50))
    return f"{kind} at {at} of {len(content)}", bytes(raw)


def pick(rng: np.random.Generator, values: list) -> object:
    """Return one of some values, of any types."""
    return values[int(rng.integers(len(values)))]
