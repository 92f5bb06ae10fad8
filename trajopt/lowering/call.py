"""Call compiled functions by address from Numba kernels, with arrays and element offsets and without array views.

``call3(address, a, ia, b, ib, c, ic)`` calls ``void f(double *, double *, double *)`` with pointers to element ``ia``
of ``a`` and so on, counted in C order. The arrays are C-contiguous, of any dimension, and all float64 or all float32.
Nothing else is checked: the kernel vouches for the sizes, and for the precision that the function was compiled for.

``call_entry`` calls the rules of a decision process, which `trajopt.lowering.rules` compiles.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.extending import intrinsic

_NUMBERS = {types.float64: ir.DoubleType(), types.float32: ir.FloatType()}


def _check_operand(position: int, array: types.Type, offset: types.Type, number: types.Type) -> None:
    """Refuse at compile time what would read the wrong memory."""
    if not (isinstance(array, types.Array) and array.dtype == number and array.layout == "C"):
        raise TypingError(f"Array {position} of a call by address is {array}; give a C-contiguous {number} array.")
    if not isinstance(offset, types.Integer):
        raise TypingError(f"Offset {position} of a call by address is {offset}; give an integer.")


def _generate(context, builder, signature, arguments):
    """Emit the call: data pointer plus offset for each array."""
    number = _NUMBERS[signature.args[1].dtype]
    pointers = []
    for k in range(1, len(arguments), 2):
        data = context.make_array(signature.args[k])(context, builder, arguments[k]).data
        offset = context.cast(builder, arguments[k + 1], signature.args[k + 1], types.intp)
        pointers.append(builder.gep(builder.bitcast(data, number.as_pointer()), [offset]))
    function_type = ir.FunctionType(ir.VoidType(), [number.as_pointer()] * len(pointers))
    address = context.cast(builder, arguments[0], signature.args[0], types.intp)
    builder.call(builder.inttoptr(address, function_type.as_pointer()), pointers)
    return context.get_dummy_value()


def _type_call(address: types.Type, operands: tuple[types.Type, ...]):
    if not isinstance(address, types.Integer):
        raise TypingError(f"The address of a call is {address}; give an integer.")
    single = isinstance(operands[0], types.Array) and operands[0].dtype == types.float32
    number = types.float32 if single else types.float64
    for position in range(0, len(operands), 2):
        _check_operand(position // 2, operands[position], operands[position + 1], number)
    return types.void(address, *operands), _generate


def _make_call(pointers: int) -> Callable[..., None]:
    """Return the intrinsic for a function of `pointers` pointers.

    Numba reads the number of arguments from the function's signature, so the signature is written as text.
    """
    names = [f"{kind}{k}" for k in range(pointers) for kind in ("array", "offset")]
    source = (
        f"def call{pointers}(typing_context, address, {', '.join(names)}):\n"
        f"    return _type_call(address, ({', '.join(names)},))\n"
    )
    namespace = {"_type_call": _type_call, "__name__": __name__}
    exec(compile(source, __file__, "exec"), namespace)  # the text is made of our own names alone
    function = namespace[f"call{pointers}"]
    function.__doc__ = f"Call ``void f(double *, ...)`` at an address with {pointers} arrays and offsets."
    return intrinsic(function)


call1 = _make_call(1)
call2 = _make_call(2)
call3 = _make_call(3)
call4 = _make_call(4)
call5 = _make_call(5)
call6 = _make_call(6)
call7 = _make_call(7)
call8 = _make_call(8)
call9 = _make_call(9)
call10 = _make_call(10)

NUMBERS = 8
"""How many numbers pass between a kernel and an entry."""

ACTION, UNIFORM, REWARD, DISCOUNT, VALUE, NATURE, STREAM, STREAM_LOW = range(NUMBERS)
"""Their places: action or outcome, uniform number; reward, discount; value; 1 where nature moves; halves of a key."""


@intrinsic
def call_entry(typing_context, address, states, first, numbers, weights, mask):
    """Call the entry at ``address`` on the state from element ``first`` of ``states``; not 0 if the rule raised.

    The arrays are C-contiguous. The form is that of Numba's compiled functions, which take two more pointers, to the
    result and to an exception.
    """
    for array in (states, numbers, weights, mask):
        if not (isinstance(array, types.Array) and array.layout == "C"):
            raise TypingError(f"An array of a call to an entry is {array}; give a C-contiguous one.")
    signature = types.int32(types.intp, states, types.intp, numbers, weights, mask)

    def generate(context, builder, signature, arguments):
        byte = ir.IntType(8).as_pointer()
        pointers = [cgutils.alloca_once(builder, byte), cgutils.alloca_once(builder, byte)]
        for k in (1, 3, 4, 5):
            data = context.make_array(signature.args[k])(context, builder, arguments[k]).data
            if k == 1:
                data = builder.gep(data, [arguments[2]])
            pointers.append(builder.bitcast(data, byte))
        function_type = ir.FunctionType(ir.IntType(32), [byte.as_pointer()] * 2 + [byte] * 4)
        return builder.call(builder.inttoptr(arguments[0], function_type.as_pointer()), pointers)

    return signature, generate
