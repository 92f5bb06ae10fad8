"""Compile CasADi SX functions, or find them compiled, and hand out their addresses."""

from __future__ import annotations

import ctypes
import hashlib
import threading
from collections.abc import Collection, Mapping

import casadi as ca
import llvmlite
import numpy as np

from trajopt.errors import TrajoptError
from trajopt.lowering import cache
from trajopt.lowering.formats import FLOAT64, FORMATS, Format
from trajopt.lowering.llvm import SYMBOL_PREFIX, module_text
from trajopt.lowering.object_code import CODE_GENERATION_LEVEL, Engine, compile_object, host_processor
from trajopt.lowering.program import check_function, read_program
from trajopt.validation import check_choice

# Raise this with every change to the code that is generated: it is part of what cached code is found by.
VERSION = 3
WIDEST = 64

_loaded: dict[str, MachineCode] = {}  # kept, so that an address handed out stays valid and nothing compiles twice
_locks: dict[str, threading.Lock] = {}
_registry_lock = threading.Lock()


class MachineCode:
    """Compiled functions; their addresses are valid while this object lives.

    A function with inputs i_0 ... and outputs o_0 ... is ``void f(const double *i_0, ..., double *o_0, ...)``, or takes
    ``float *`` in single precision. Inputs are dense columns; outputs are dense in C order, zeros included. With
    ``lanes`` W > 1, element k of lane j is at k * W + j, but for shared inputs, which stay plain columns. Outputs may
    overlap inputs of the same layout.

    Use `compile_functions` to make one.
    """

    def __init__(self, engine: Engine, layouts: Mapping[str, Layout], lanes: int, number: Format) -> None:
        self._engine = engine
        self._layouts = dict(layouts)
        self._addresses = {name: engine.address(SYMBOL_PREFIX + name) for name in layouts}
        self.lanes, self.format = lanes, number
        if not all(self._addresses.values()):
            raise TrajoptError("The compiled code lacks a function; remove the cache folder and compile again.")

    def address(self, name: str) -> int:
        """Address of a function.

        Raises
        ------
        TrajoptError
            When no function of that name was compiled.
        """
        self._layout(name)
        return self._addresses[name]

    def evaluate(self, name: str, *arrays: object) -> list[np.ndarray]:
        """Call a function with arrays; slow, for tests and for work outside of loops.

        Parameters
        ----------
        name : str
            A compiled function.
        *arrays : array_like
            One for each input: shape (size,), or (size, lanes) for an input that is not shared when lanes > 1.

        Returns
        -------
        list of ndarray
            One for each output: shape (rows, columns), or (rows, columns, lanes) when lanes > 1.

        Raises
        ------
        TrajoptError
            When the number of arrays or the size of one is wrong.
        """
        layout = self._layout(name)
        if len(arrays) != len(layout.input_names):
            raise TrajoptError(
                f"The function {name!r} got {len(arrays)} arrays; give {len(layout.input_names)}, "
                f"for {', '.join(layout.input_names)}."
            )
        inputs = []
        for array, label, shape in zip(arrays, layout.input_names, layout.input_shapes, strict=True):
            column = np.ascontiguousarray(array, dtype=self.format.dtype)
            if column.size != int(np.prod(shape)) or (len(shape) > 1 and column.size and column.shape != shape):
                raise TrajoptError(
                    f"Input {label!r} of the function {name!r} got an array of shape {column.shape}; give {shape}."
                )
            inputs.append(column)
        outputs = [np.empty(shape, self.format.dtype) for shape in layout.output_shapes]
        pointers = [array.ctypes.data for array in (*inputs, *outputs)]
        ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(pointers))(self._addresses[name])(*pointers)
        return outputs

    def _layout(self, name: str) -> Layout:
        if name not in self._layouts:
            raise TrajoptError(f"There is no compiled function {name!r}; there are {', '.join(self._layouts)}.")
        return self._layouts[name]


class Layout:
    """Names and shapes of a function's arrays."""

    def __init__(self, function: ca.Function, lanes: int, shared: Collection[str]) -> None:
        self.input_names = tuple(function.name_in())
        own = (lanes,) if lanes > 1 else ()
        self.input_shapes = tuple(
            (function.size1_in(i), *(() if name in shared else own)) for i, name in enumerate(self.input_names)
        )
        self.output_shapes = tuple((*function.size_out(i), *own) for i in range(function.n_out()))


def compile_functions(
    functions: Mapping[str, ca.Function],
    *,
    lanes: int = 1,
    shared: Collection[str] = (),
    precision: str = "float64",
) -> MachineCode:
    """Return machine code of CasADi SX functions, from this process, the user's cache folder, or the compiler.

    Parameters
    ----------
    functions : mapping of str to casadi.Function
        SX functions under the names they are to be found by; inputs are dense columns, also of size 0.
    lanes : int
        Number of samples that one call computes; `preferred_lanes` suits this processor.
    shared : collection of str
        Names of inputs that all lanes have in common.
    precision : str
        "float64" or "float32", of inputs, arithmetic and outputs.

    Raises
    ------
    TrajoptError
        When a function, `lanes` or `shared` cannot be compiled, or the precision is none of these.
    """
    _check(functions, lanes, shared)
    check_choice(precision, "precision", FORMATS)
    number = FORMATS[precision]
    key = _key(functions, lanes, shared, number)
    with _registry_lock:
        if key in _loaded:
            return _loaded[key]
        lock = _locks.setdefault(key, threading.Lock())
    with lock:
        if key not in _loaded:
            layouts = {name: Layout(function, lanes, shared) for name, function in functions.items()}
            _loaded[key] = MachineCode(_engine(key, functions, lanes, shared, number), layouts, lanes, number)
        return _loaded[key]


def _engine(
    key: str, functions: Mapping[str, ca.Function], lanes: int, shared: Collection[str], number: Format
) -> Engine:
    code = cache.read(key)
    if code is None:
        programs = [read_program(name, function) for name, function in functions.items()]
        code = compile_object(module_text(programs, lanes, shared, number))
        cache.write(key, code)
    return Engine(code)


def _check(functions: Mapping[str, ca.Function], lanes: int, shared: Collection[str]) -> None:
    if not functions:
        raise TrajoptError("There is no function to compile; give at least one.")
    if not 1 <= lanes <= WIDEST:
        raise TrajoptError(f"The number of lanes is {lanes}; give a whole number from 1 to {WIDEST}.")
    for name, function in functions.items():
        check_function(name, function)
    names = {name for function in functions.values() for name in function.name_in()}
    unknown = sorted(set(shared) - names)
    if unknown:
        raise TrajoptError(
            f"The shared inputs {', '.join(unknown)} do not exist; the inputs are {', '.join(sorted(names))}."
        )


def _key(functions: Mapping[str, ca.Function], lanes: int, shared: Collection[str], number: Format) -> str:
    """Content hash of everything that the code depends on; CasADi's serialisation is the same in every process."""
    processor = host_processor()
    digest = hashlib.sha256()
    settings = [str(VERSION), str(CODE_GENERATION_LEVEL), str(lanes), number.name]
    parts = [*settings, llvmlite.__version__, ca.CasadiMeta.version(), *processor]
    parts += [*sorted(shared), *(f"{name}\0{function.serialize()}" for name, function in functions.items())]
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return digest.hexdigest()


def preferred_lanes(precision: str = "float64") -> int:
    """Return the number of lanes that suits this processor: two vector registers, so that one fills the other's waits.

    Measured with AVX-512 on a cart-pole step (nanoseconds a sample): 55 with 1 lane, 27 with 2, 13 with 4, 7.2 with 8,
    4.1 with 16 and 3.6 with 32, which is not worth its twice as coarse blocks. With AVX2: 10.6 with 8, 8.7 with 16.
    Numbers of half the size are twice as many a register.
    """
    scale = FLOAT64.size // FORMATS[precision].size
    features = set(host_processor()[1].split(","))
    if "+avx512f" in features:
        return 16 * scale
    return (8 if "+avx" in features else 4) * scale
