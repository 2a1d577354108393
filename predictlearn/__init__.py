"""predictlearn: predict how low-rank neural circuits learn, from what a recording shows and hides.

Three parts: a theory engine that integrates the overlap equations of Ger & Barak (2026), a fitting
module that estimates low-rank structure from recordings, and predictions with statistics. Names are
loaded when first used, so that importing the package stays cheap; ``__init__.pyi`` lists them.
"""

from __future__ import annotations

import importlib
from typing import Any

import lazy_loader

from predictlearn import moved

__version__ = "0.4.0.dev0"

_load, _names, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
moved.install()


def __getattr__(name: str) -> Any:
    """Load a public name from its home on first use."""
    if name == "predictions":
        return importlib.import_module("predictlearn.predictions")
    if name not in __all__:
        from predictlearn.errors import nearest

        close = nearest(name, __all__)
        hint = f" Did you mean {close!r}?" if close else ""
        raise AttributeError(f"module 'predictlearn' has no attribute {name!r}.{hint}")
    return _load(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_names()})
