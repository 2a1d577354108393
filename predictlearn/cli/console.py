"""What all commands share: messages, errors, progress, and how many processes to use."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shlex
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TextIO, TypeVar

import typer

from predictlearn.errors import DivergenceError, InputError
from predictlearn.files import output_folder, printable, refuse_links

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "as_command",
    "available_cores",
    "checked_seed",
    "guarded",
    "hold_folder",
    "interruptible",
    "jobs_or_all",
    "output",
    "output_path",
    "plain",
    "say",
    "stages",
]

P = ParamSpec("P")
R = TypeVar("R")

# What the running command holds until it ends.
_HELD: list[contextlib.ExitStack] = []

# A bar is shown for at least so many tasks.
_WORTH_COUNTING = 4

WRONG_INPUT = 2
_KILLED = (
    "a worker process was killed from outside, often since memory was full; fewer --jobs take less"
)
INTERRUPTED = 130


def as_command(words: Iterable[object], options: Mapping[str, object]) -> str:
    """Return a command with its options as one types it; those that are None or False are not said.

    Parameters
    ----------
    words : iterable
        The command, and what it takes.
    options : mapping of str to object
        Values by name without hyphens; True is an option without a value, a tuple has several.

    Returns
    -------
    str
        Text.
    """
    said = [str(word) for word in words]
    for name, value in options.items():
        if value is None or value is False:
            continue
        said.append(f"--{name}")
        if isinstance(value, tuple):
            said += map(str, value)
        elif value is not True:
            said.append(f"{value:g}" if isinstance(value, float) else str(value))
    return shlex.join(said)


def _console(stderr: bool) -> Console:
    """Return a console on which names are text: no markup, no emoji, no commands to a terminal."""
    from rich.console import Console
    from rich.segment import Segment

    class Cleaned:
        """What is printed, without control characters of its own."""

        def __init__(self, content: Any) -> None:
            self.content = content

        def __rich_console__(self, console: Console, options: Any) -> Iterator[Segment]:
            for text, style, control in console.render(self.content, options):
                yield Segment(text if control else printable(text), style, control)

    class Cleaning:
        """Clean all that goes to the console, in tables and progress bars too."""

        def process_renderables(self, renderables: list[Any]) -> list[Any]:
            return [Cleaned(content) for content in renderables]

    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    hook: Any = Cleaning()
    console.push_render_hook(hook)
    return console


def output() -> Console:
    """Return the console for results, on standard output."""
    return _console(stderr=False)


def _errors() -> Console:
    """Return the console for messages, on standard error."""
    return _console(stderr=True)


def plain(text: str) -> str:
    """Return text of a report without its marks of code and bold."""
    return re.sub(r"`([^`]+)`|\*\*([^*]+)\*\*", r"\1\2", text)


def say(label: str, message: str, style: str) -> None:
    """Print a message on standard error; square brackets in it are text.

    Parameters
    ----------
    label : str
        What stands before it, such as "Error".
    message : str
        The message.
    style : str
        Colour of the label.
    """
    from rich.text import Text

    text = Text.assemble((f"{label}: ", f"bold {style}"), message)
    # paths stay in one piece, however wide the terminal
    _errors().print(text, soft_wrap=True)


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Return a command that turns what went wrong into one message and an exit code.

    Parameters
    ----------
    command : callable
        The command.

    Returns
    -------
    callable
        The same with the same signature; wrong input, learning that diverged, too little memory and
        files that cannot be read or written end with exit code 2, and an interruption with 130.
        Any other error is a bug: its traceback remains, and says how to report it.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with warnings.catch_warnings(), contextlib.ExitStack() as held:
                warnings.showwarning = _show_warning
                _HELD.append(held)
                held.callback(_HELD.pop)
                return command(*args, **kwargs)
        except (InputError, DivergenceError) as error:
            say("Error", str(error), "red")
        except BrokenPipeError:
            raise
        except OSError as error:
            say("Error", f"{error.strerror or error}: {error.filename or ''}".rstrip(": "), "red")
        except BrokenExecutor:
            say("Error", f"{_KILLED}; nothing was written.", "red")
        except KeyboardInterrupt:
            say("Interrupted", "nothing was written.", "yellow")
            raise typer.Exit(INTERRUPTED) from None
        except MemoryError as error:
            more = f" ({error})" if str(error) else ""
            say(
                "Error", f"there is not enough memory{more}: take fewer trials, or --jobs 1.", "red"
            )
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except Exception as error:
            # whatever input can cause ends above; the traceback is what a report needs
            error.add_note(_bug())
            raise
        raise typer.Exit(WRONG_INPUT)

    return run


def _bug() -> str:
    """Return what to do about an error that is ours."""
    import platform
    import sys

    from predictlearn import __version__

    return (
        f"\nThis is a bug in predictlearn {__version__}, and no fault of your input. Please report "
        "it to the developers, where you have predictlearn from, with all of the lines above, the "
        f"command that you ran (arguments: {sys.argv[1:]}) and, if you can, its input. Python "
        f"{platform.python_version()} on {platform.platform()}."
    )


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as a message, without the place in the code."""
    name = "Warning" if issubclass(category, UserWarning) else category.__name__
    say(name, str(message), "yellow")


def _noted(message: str, error: BaseException) -> str:
    """Return a message with the notes of an error, as one sentence."""
    return " ".join([message, *getattr(error, "__notes__", ())]).removesuffix(";").rstrip(".") + "."


@contextlib.contextmanager
def interruptible(message: str) -> Iterator[None]:
    """Say what is kept if the user interrupts what runs inside.

    Parameters
    ----------
    message : str
        What is kept, and how to go on. The notes of the error follow, see
        `predictlearn.kept.keeping`.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        say("Interrupted", _noted(message, error), "yellow")
        raise typer.Exit(INTERRUPTED) from None
    except BrokenExecutor as error:
        say("Error", f"{_KILLED}; {_noted(message, error)}", "red")
        raise typer.Exit(WRONG_INPUT) from None


@contextlib.contextmanager
def stages() -> Iterator[Callable[[str], None]]:
    """Give a function to announce stages of work with: a spinner on a terminal, else lines.

    On a terminal, work of a stage that is counted has a bar with the time left.

    Yields
    ------
    callable
        Takes the name of the stage that begins.
    """
    console = _errors()
    if not console.is_terminal:
        yield lambda stage: console.print(stage, markup=False, soft_wrap=True)
        return
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Counted(ProgressColumn):
        """A column for tasks that are counted; empty for stages."""

        def __init__(self, column: ProgressColumn) -> None:
            super().__init__()
            self.column = column

        def render(self, task: Any) -> Any:
            return self.column.render(task) if task.fields.get("counted") else Text("")

    from predictlearn.workers import told

    with Progress(
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description}", markup=False),
        Counted(BarColumn(bar_width=20)),
        TimeElapsedColumn(),
        Counted(TextColumn("left", markup=False)),
        Counted(TimeRemainingColumn()),
        console=console,
    ) as bar:
        current: list[Any] = []
        counted: list[Any] = []

        def announce(stage: str) -> None:
            """Finish the stage before, and begin this one."""
            if current:
                bar.update(current[-1], total=1, completed=1)
            current.append(bar.add_task(printable(stage), total=None))

        def count(done: int, total: int) -> None:
            """Show how far the work inside a stage is, until it is done."""
            if total < _WORTH_COUNTING:
                return
            if not counted and done < total:
                counted.append(bar.add_task("", total=total, counted=True))
            if counted and done < total:
                label = f"  {done} of {total}"
                bar.update(counted[-1], total=total, completed=done, description=label)
            elif counted:
                bar.remove_task(counted.pop())

        with told(count):
            yield announce
        for task in counted:
            bar.remove_task(task)
        if current:
            bar.update(current[-1], total=1, completed=1)


def available_cores() -> int:
    """Return the number of processors that this process may use.

    Returns
    -------
    int
        At least one.
    """
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def checked_seed(seed: int) -> int:
    """Return the seed if it is one."""
    if seed < 0:
        raise InputError(f"--seed must be a whole number of at least 0; got {seed}.")
    return seed


def hold_folder(
    folder: Path | None, overwrite: bool = False, *, command: str = "", name: str = ""
) -> None:
    """Refuse an output folder that cannot be written to, and hold it until the command ends.

    Parameters
    ----------
    folder : pathlib.Path or None
        The folder; nothing is done without one.
    overwrite : bool, default False
        Whether files of others may be replaced.
    command : str, default ""
        What is to write there.
    name : str, default ""
        A folder in it that is written in its place.
    """
    if folder is None:
        return
    from predictlearn.reporting.folder import held_folder

    place = folder.absolute() / name
    if name:
        refuse_links(folder.absolute(), place)
    _HELD[-1].enter_context(held_folder(place, overwrite, command=command))


def output_path(value: str | Path) -> Path:
    """Return the folder that ``--output`` names; an empty name is refused, and ``~`` is home."""
    try:
        return output_folder(value, "--output")
    except InputError as error:
        say("Error", str(error), "red")
        raise typer.Exit(WRONG_INPUT) from None


def jobs_or_all(jobs: int | None) -> int:
    """Return the number of processes asked for, or one for every processor."""
    if jobs is None:
        return available_cores()
    if jobs < 1:
        raise InputError(f"--jobs must be a whole number of at least 1; got {jobs}.")
    return jobs
