"""Compiled functions that are called by their address.

numba compiles into a function all that it calls, however large, and so once for every caller. A
function apart is compiled once; its callers are small, and are given its address.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils
from numba.core.types.misc import unliteral
from numba.extending import intrinsic, overload

__all__ = ["ByAddress"]


@intrinsic
def _at(typing: Any, address: Any, returns: Any, given: Any) -> Any:
    """Call the compiled function at an address; what it returns is of the type of `returns`."""

    def generated(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        """Write the call, which hands an exception on."""
        kinds, convention = signature.args[2].types, context.call_conv
        kind = convention.get_function_type(signature.return_type, kinds)
        place = builder.inttoptr(values[0], ir.PointerType(kind))
        arguments = cgutils.unpack_tuple(builder, values[2])
        status, value = convention.call_function(
            builder, place, signature.return_type, kinds, arguments
        )
        with cgutils.if_unlikely(builder, status.is_error):
            convention.return_status_propagate(builder, status)
        return value

    return unliteral(returns)(address, returns, given), generated


class ByAddress:
    """A compiled function that other compiled functions call by its address.

    Parameters
    ----------
    function : callable
        Made by `compiled`.
    returns : object
        Something of the type that it returns.
    *like : object
        Arguments of the types that it is compiled for. With others a caller holds its code.

    Attributes
    ----------
    call : callable
        What a caller calls, with the address and then the arguments.

    Examples
    --------
    >>> from predictlearn.compiled import compiled
    >>> @compiled()
    ... def half(x):
    ...     return x / 2
    >>> halved = ByAddress(half, 0.0, 0.0)
    >>> call = halved.call
    >>> @compiled()
    ... def twice(address, x):
    ...     return call(address, x) + call(address, x)
    >>> twice(halved.address, 3.0)
    3.0
    """

    def __init__(self, function: Any, returns: Any, *like: Any) -> None:
        self._function = function
        result, kinds = numba.typeof(returns), tuple(numba.typeof(value) for value in like)
        self._signature = result(*kinds)

        def call(address: int, *given: Any) -> Any:
            return function(*given)

        # two ways to compile the call; numba compares names and annotations, too
        def by_address(address: Any, *given: Any) -> Any:
            def there(address: Any, *given: Any) -> Any:
                return _at(address, returns, given)

            return there if tuple(map(unliteral, given)) == kinds else None

        def within(address: Any, *given: Any) -> Any:
            def here(address: Any, *given: Any) -> Any:
                return function(*given)

            return here if tuple(map(unliteral, given)) != kinds else None

        # no arrays are made, and references to those given need not be counted
        overload(call, jit_options={"_nrt": False})(by_address)
        overload(call)(within)
        self.call = call

    @functools.cached_property
    def address(self) -> int:
        """Where it is in the memory of this process, compiled or read from disk."""
        if not hasattr(self._function, "get_compile_result"):
            return 0  # numba's compiler is switched off
        made = self._function.get_compile_result(self._signature)
        return int(made.library.get_pointer_to_function(made.fndesc.llvm_func_name))
