"""A CasADi SX function as a list of operations, each of which names the operations that it needs.

CasADi's own list works on a small set of slots that it reuses. Here every result has its own index ("static single
assignment"), which is what LLVM, and any other target, wants to read.
"""

from __future__ import annotations

from dataclasses import dataclass

import casadi as ca

from trajopt.errors import TrajoptError

OPERATION_NAMES: dict[int, str] = {getattr(ca, name): name[3:] for name in dir(ca) if name.startswith("OP_")}

# What CasADi gives two operands of which only the first counts.
_FIRST_OPERAND_ONLY = frozenset({"LIFT"})


@dataclass(frozen=True, slots=True)
class Operation:
    """One step: ``name`` applied to the results at the indices ``operands``.

    ``value`` is the number of a CONST; ``source`` is (input, element) of an INPUT.
    """

    name: str
    operands: tuple[int, ...] = ()
    value: float = 0.0
    source: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Output:
    """One output: its dense shape and, for each nonzero, the place in C order and the index of the operation."""

    shape: tuple[int, int]
    entries: tuple[tuple[int, int], ...]

    @property
    def size(self) -> int:
        """Number of elements of the dense array."""
        return self.shape[0] * self.shape[1]


@dataclass(frozen=True, slots=True)
class Program:
    """Everything that a target needs to know of one function."""

    name: str
    input_names: tuple[str, ...]
    input_sizes: tuple[int, ...]
    operations: tuple[Operation, ...]
    outputs: tuple[Output, ...]


def read_program(name: str, function: ca.Function) -> Program:
    """Return the operations of an SX function whose inputs are dense columns.

    Raises
    ------
    TrajoptError
        When the function is not an SX function, has free symbols, or has an input that is not a dense column.
    """
    check_function(name, function)
    operations: list[Operation] = []
    slots: dict[int, int] = {}
    written: list[dict[int, int]] = [{} for _ in range(function.n_out())]
    for k in range(function.n_instructions()):
        code = OPERATION_NAMES.get(function.instruction_id(k), f"number {function.instruction_id(k)}")
        target, source = function.instruction_output(k), function.instruction_input(k)
        if code == "OUTPUT":
            written[target[0]][target[1]] = slots[source[0]]
            continue
        if code == "INPUT":
            operation = Operation(code, source=(source[0], source[1]))
        elif code == "CONST":
            operation = Operation(code, value=float(function.instruction_constant(k)))
        else:
            used = source[:1] if code in _FIRST_OPERAND_ONLY else source
            operation = Operation(code, operands=tuple(slots[slot] for slot in used))
        slots[target[0]] = len(operations)
        operations.append(operation)
    return Program(
        name=name,
        input_names=tuple(function.name_in()),
        input_sizes=tuple(function.size1_in(i) for i in range(function.n_in())),
        operations=tuple(operations),
        outputs=tuple(_dense_output(function.sparsity_out(i), entries) for i, entries in enumerate(written)),
    )


def check_function(name: str, function: ca.Function) -> None:
    """Raise a TrajoptError unless `function` is an SX function of dense columns without free symbols."""
    if not (name.isascii() and name.isidentifier()):
        raise TrajoptError(f"The function name {name!r} is not an identifier; use letters, digits and underscores.")
    if not function.is_a("SXFunction"):
        raise TrajoptError(f"The function {name!r} is a {function.class_name()}; give a function of SX expressions.")
    if function.has_free():
        raise TrajoptError(
            f"The function {name!r} uses the symbols {', '.join(function.get_free())}, which are not among its inputs; "
            "add them as inputs."
        )
    for i in range(function.n_in()):
        sparsity = function.sparsity_in(i)
        if not (sparsity.is_dense() and (sparsity.size2() == 1 or sparsity.numel() == 0)):
            raise TrajoptError(
                f"Input {function.name_in(i)!r} of the function {name!r} is {sparsity.dim()}; give a dense column."
            )


def _dense_output(sparsity: ca.Sparsity, written: dict[int, int]) -> Output:
    rows, columns = sparsity.size()
    places = [row * columns + column for row, column in zip(sparsity.row(), sparsity.get_col(), strict=True)]
    return Output((rows, columns), tuple((place, written[k]) for k, place in enumerate(places) if k in written))
