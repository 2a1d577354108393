"""The command line, a file a group of commands.

Only typer and rich are imported here; a command imports what it needs when it runs.
"""

from __future__ import annotations

from predictlearn.cli.app import app, main

__all__ = ["app", "main"]
