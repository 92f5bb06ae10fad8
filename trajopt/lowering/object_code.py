"""LLVM IR text -> object code -> addresses in this process, through llvmlite.

MCJIT with a ready-made object file is used rather than ORC: it loads in under a millisecond and verifies no IR.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import sys

from llvmlite import binding

from trajopt.errors import TrajoptError
from trajopt.lowering.formats import FORMATS
from trajopt.lowering.operations import LIBRARY_NAMES

# See the table in llvm.py.
CODE_GENERATION_LEVEL = 1


@functools.cache
def initialize() -> None:
    """Prepare LLVM for this processor and make sure that the C library's functions can be found."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    library = None
    names = [name + chosen.library for chosen in FORMATS.values() for name in LIBRARY_NAMES.values()]
    for name in names:
        if binding.address_of_symbol(name) is None:
            if library is None:
                found = "ucrtbase" if sys.platform == "win32" else ctypes.util.find_library("m")
                library = ctypes.CDLL(found)
            address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
            binding.add_symbol(name, address)


@functools.cache
def host_processor() -> tuple[str, str]:
    """Name and features of this processor, as LLVM writes them."""
    return binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()


def target_machine() -> binding.TargetMachine:
    """Return a new description of this processor; each engine takes its own."""
    initialize()
    name, features = host_processor()
    target = binding.Target.from_default_triple()
    return target.create_target_machine(cpu=name, features=features, opt=CODE_GENERATION_LEVEL, jit=True)


def compile_object(text: str) -> bytes:
    """Return the object code of LLVM IR text."""
    machine = target_machine()
    context = binding.create_context()  # its own, so that everything is freed with the module
    try:
        module = binding.parse_assembly(text, context)
        return machine.emit_object(module)
    except RuntimeError as error:
        raise TrajoptError(
            f"The expression could not be turned into machine code ({str(error).splitlines()[0]}); please report it "
            "with the expression."
        ) from error


class Engine:
    """Object code loaded into this process; its addresses are valid while this object lives."""

    def __init__(self, code: bytes) -> None:
        self._context = binding.create_context()
        machine = target_machine()
        self._engine = binding.create_mcjit_compiler(binding.parse_assembly("", self._context), machine)
        self._engine.add_object_file(binding.ObjectFileRef.from_data(code))
        self._engine.finalize_object()

    def address(self, symbol: str) -> int:
        """Address of a function, 0 when the code has none of that name."""
        return self._engine.get_function_address(symbol)
