"""What all parts of a protocol share: strict keys, and the kinds of their values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from predictlearn.doors import LARGEST
from predictlearn.errors import choice

__all__ = ["Count", "NonNegative", "Positive", "ProtocolSection", "Text", "one_of"]

Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Positive = Annotated[float, Field(gt=0, le=LARGEST)]
NonNegative = Annotated[float, Field(ge=0, le=LARGEST)]


def one_of(*allowed: str) -> AfterValidator:
    """Return a validator that accepts the named choices only."""

    def check(value: str) -> str:
        return choice("this", value, allowed)

    return AfterValidator(check)


class ProtocolSection(BaseModel):
    """A part of a protocol: frozen, strict, and it names the nearest key when one is unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def _only(self, kind: str, **allowed: Sequence[str]) -> None:
        """Raise unless the keys that were given belong to the chosen type."""
        wrong = sorted(self.model_fields_set - {"type", *allowed[kind.replace("-", "_")]})
        if wrong:
            keys = ", ".join(allowed[kind.replace("-", "_")])
            raise ValueError(f"{', '.join(wrong)} does not go with type {kind!r}, which has {keys}")
