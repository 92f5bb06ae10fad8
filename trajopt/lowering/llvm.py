"""Programs as LLVM IR text, and that text as object code.

Every function reads all its inputs, computes, and only then writes: outputs may overlap inputs (an update in place).
A long program is cut into pieces (`WorkMemory`), each an LLVM function of its own, because register allocation is not
linear in the length of a function; what crosses a cut goes through memory, where most of it would go anyway.

Settings, measured on a chain of pendulums (Hessians of 952, 3,213 and 10,276 operations; AVX-512 processor;
milliseconds to compile, then microseconds a call):

    IR passes            code generation level      952            3,213           10,276
    O2 with SLP          2                          54   0.45     304   0.84     2,475   1.86
    O2 without SLP       2                          36   0.43     137   0.84       559   1.87
    O1                   2                          36   0.41     137   0.84       531   1.95
    instcombine          1                          25   0.44     103   0.83       423   1.95
    none                 2                          26   0.41     117   0.86       444   1.77
    none                 1                          25   0.43     103   0.85       401   1.71
    none                 0                           6   0.53      18   1.32        54   3.73

One run, in which repeated call times differed by up to 12 %: but for level 0, the settings do not differ in run time.
CasADi has already folded constants and shared subexpressions, so LLVM's IR passes only cost time.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from trajopt.lowering.arithmetic import Arithmetic, Body, Value, lane_by_lane
from trajopt.lowering.formats import FLOAT64, Format
from trajopt.lowering.operations import LibraryFunctions, OperationWriter, PolynomialFunctions
from trajopt.lowering.program import Program
from trajopt.lowering.recompute import recomputation_text
from trajopt.lowering.work_memory import WorkMemory

SYMBOL_PREFIX = "trajopt."  # keeps a function named "exp" apart from the C library's
# From this many structural zeros on, one memset is shorter than the stores.
_MANY_ZEROS = 32


def module_text(programs: Sequence[Program], lanes: int, shared: Collection[str], number: Format = FLOAT64) -> str:
    """Return the LLVM IR of all programs in one module."""
    writer = ModuleWriter(number)
    for program in programs:
        writer.add(program, lanes, frozenset(shared))
    return writer.text()


class ModuleWriter:
    """Collects functions and what they have in common: declarations, and calls of the C library lane by lane."""

    def __init__(self, number: Format) -> None:
        self._format = number
        self._functions: list[str] = []
        self._externals: dict[str, int] = {}
        self._laned: dict[tuple[str, int], int] = {}
        self._declarations: set[str] = set()

    def add(self, program: Program, lanes: int, shared: frozenset[str]) -> None:
        """Add the function of a program, and its scalar twin when some lanes may need the C library."""
        function = FunctionWriter(program, lanes, shared, self._format)
        self._take(function.text(f"{SYMBOL_PREFIX}{program.name}", internal=False), function.body, lanes)
        if function.needs_recomputation:
            scalar = FunctionWriter(program, 1, shared, self._format)
            self._take(scalar.text(f"{program.name}.scalar", internal=True), scalar.body, 1)
            self._functions.append(recomputation_text(program, lanes, shared, self._format.llvm))

    def _take(self, text: str, body: Body, lanes: int) -> None:
        self._functions.append(text)
        self._externals |= body.externals
        self._declarations |= body.declarations
        self._laned |= {(name, lanes): arguments for name, arguments in body.laned.items()}

    def text(self) -> str:
        """Return the module."""
        declarations, number = sorted(self._declarations), self._format.llvm
        for name, arguments in sorted(self._externals.items()):
            # memory(none): errno is not looked at, so equal calls may be merged and sin and cos computed together.
            types = ", ".join([number] * arguments)
            declarations.append(f"declare {number} @{name}({types}) nounwind willreturn memory(none)")
        called = sorted(self._laned.items())
        laned = [lane_by_lane(name, arguments, lanes, number) for (name, lanes), arguments in called]
        # Without these, some processors' tuning halves the vectors.
        wide = 'attributes #0 = { nounwind "prefer-vector-width"="512" "min-legal-vector-width"="512" }'
        return "\n".join([*declarations, *laned, *self._functions, wide, ""])


class FunctionWriter:
    """Writes one program for one number of lanes."""

    def __init__(self, program: Program, lanes: int, shared: frozenset[str], number: Format) -> None:
        self._program = program
        self._lanes = lanes
        self._format, self._align = number, f"align {number.size}"
        self.body = Body()
        scalar = Arithmetic(self.body, 1, number)
        self._scalar = OperationWriter(scalar, LibraryFunctions(scalar))
        self._polynomials: PolynomialFunctions | None = None
        self._vector = self._scalar
        self._start_vector()
        self._wide = self._find_wide(shared)
        self._values: dict[int, Value] = {}
        self._broadcasts: dict[int, Value] = {}
        self._work = WorkMemory(program, [lanes if wide else 1 for wide in self._wide])
        self.needs_recomputation = False

    def _start_vector(self) -> None:
        if self._lanes > 1:
            vector = Arithmetic(self.body, self._lanes, self._format)
            self._polynomials = PolynomialFunctions(vector)
            self._vector = OperationWriter(vector, self._polynomials)

    def _find_wide(self, shared: frozenset[str]) -> list[bool]:
        """Whether each operation differs between lanes: it reads an input of its own lane, directly or not."""
        wide: list[bool] = []
        for operation in self._program.operations:
            if operation.name == "INPUT":
                wide.append(self._lanes > 1 and self._program.input_names[operation.source[0]] not in shared)
            else:
                wide.append(any(wide[k] for k in operation.operands))
        return wide

    def text(self, symbol: str, *, internal: bool) -> str:
        """Return the LLVM function(s)."""
        pointers = [f"ptr %i{k}" for k in range(len(self._program.input_sizes))]
        pointers += [f"ptr %o{k}" for k in range(len(self._program.outputs))]
        linkage = "internal " if internal else ""
        head = f'define {linkage}void @"{symbol}"({", ".join(pointers)}) #0 {{'
        pieces = self._work.pieces
        if pieces == 1:
            self._load_inputs()
            self._compute(0)
            out_of_range = self._any_out_of_range()
            return "\n".join([head, *self._take_lines(), *self._finish(out_of_range), "}"])
        functions, main = [], [f"%work = alloca {self._format.llvm}, i64 {self._work.size}, align 64"]
        parameters = ", ".join([*pointers, "ptr %work"])
        failed = None
        for piece in range(pieces):
            functions.append(self._piece_text(symbol, piece, parameters))
            main.append(f'%p{piece} = call i1 @"{symbol}.{piece}"({parameters})')
            if self._polynomials is not None:
                main.append(f"%q{piece} = or i1 {failed or 'false'}, %p{piece}")
                failed = f"%q{piece}"
        self._forget()
        finish = self._finish(failed if self.needs_recomputation else None)
        return "\n".join([*functions, head, *main, *finish, "}"])

    def _piece_text(self, symbol: str, piece: int, parameters: str) -> str:
        self._forget()
        if piece == 0:
            self._load_inputs()
        self._compute(piece)
        for node in self._work.leaving(piece):
            value = self._values[node]
            self.body.lines.append(f"store {value.arithmetic.type} {value.text}, ptr {self._slot(node)}, {self._align}")
        result = self._any_out_of_range() or "false"
        lines = [f'define internal i1 @"{symbol}.{piece}"({parameters}) noinline #0 {{', *self._take_lines()]
        return "\n".join([*lines, f"ret i1 {result}", "}"])

    def _forget(self) -> None:
        """Start another LLVM function: no value of the last one can be named in it."""
        self._values.clear()
        self._broadcasts.clear()
        self._scalar = OperationWriter(self._scalar.arithmetic, LibraryFunctions(self._scalar.arithmetic))
        self._vector = self._scalar
        self._start_vector()

    def _take_lines(self) -> list[str]:
        lines = self.body.lines
        self.body.lines = []
        return lines

    def _load_inputs(self) -> None:
        for node, operation in enumerate(self._program.operations):
            if operation.name == "INPUT":
                argument, element = operation.source
                arithmetic = (self._vector if self._wide[node] else self._scalar).arithmetic
                pointer = self._element(f"%i{argument}", element * arithmetic.lanes if self._wide[node] else element)
                self._values[node] = arithmetic.define(f"load {arithmetic.type}, ptr {pointer}, {self._align}")

    def _compute(self, piece: int) -> None:
        operations = self._program.operations
        for node in self._work.nodes(piece):
            operation = operations[node]
            if operation.name == "INPUT":
                continue
            if operation.name == "CONST":
                self._values[node] = self._scalar.arithmetic.constant(operation.value)
                continue
            wide = self._wide[node]
            operands = tuple(self._operand(k, wide) for k in operation.operands)
            last = operations[operation.operands[-1]]
            exponent = last.value if last.name == "CONST" else None
            self._values[node] = (self._vector if wide else self._scalar).write(operation.name, operands, exponent)

    def _operand(self, node: int, wide: bool) -> Value:
        """Value of an operation, read from the work memory or repeated in every lane where needed."""
        value = self._values.get(node)
        if value is None:
            operation = self._program.operations[node]
            arithmetic = (self._vector if self._wide[node] else self._scalar).arithmetic
            if operation.name == "CONST":
                value = arithmetic.constant(operation.value)
            else:
                value = arithmetic.define(f"load {arithmetic.type}, ptr {self._slot(node)}, {self._align}")
            self._values[node] = value
        if not wide or self._wide[node]:
            return value
        if node not in self._broadcasts:
            operation, vector = self._program.operations[node], self._vector.arithmetic
            constant = operation.name == "CONST"
            self._broadcasts[node] = vector.constant(operation.value) if constant else vector.broadcast(value)
        return self._broadcasts[node]

    def _slot(self, node: int) -> str:
        return self._element("%work", self._work.slot(node))

    def _element(self, base: str, index: int) -> str:
        return self.body.define(f"getelementptr {self._format.llvm}, ptr {base}, i64 {index}")

    def _any_out_of_range(self) -> str | None:
        """Append the test whether any lane left the range of a polynomial; None when no polynomial has one."""
        if self._polynomials is None or not self._polynomials.out_of_range:
            return None
        self.needs_recomputation = True
        vector = self._vector.arithmetic
        first, *others = self._polynomials.out_of_range
        for other in others:
            first = vector.truth("or", first, other)
        reduce = f"@llvm.vector.reduce.or.v{self._lanes}i1"
        self.body.declarations.add(f"declare i1 {reduce}({vector.truth_type})")
        return self.body.define(f"call i1 {reduce}({vector.truth_type} {first.text})")

    def _finish(self, out_of_range: str | None) -> list[str]:
        """Lines that store the outputs, or recompute the block lane by lane when the condition holds."""
        lines = []
        if out_of_range is not None:
            count_in, count_out = len(self._program.input_sizes), len(self._program.outputs)
            arguments = [f"ptr %i{k}" for k in range(count_in)] + [f"ptr %o{k}" for k in range(count_out)]
            lines += [
                f'br i1 {out_of_range}, label %recompute, label %finish, !prof !{{!"branch_weights", i32 1, i32 4096}}',
                "recompute:",
                f'call void @"{self._program.name}.lanes"({", ".join(arguments)})',
                "ret void",
                "finish:",
            ]
        self._store_outputs()
        return [*lines, *self._take_lines(), "ret void"]

    def _store_outputs(self) -> None:
        for index, output in enumerate(self._program.outputs):
            written = {place for place, _ in output.entries}
            zeros = [place for place in range(output.size) if place not in written]
            if len(zeros) > _MANY_ZEROS:
                self.body.declarations.add("declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
                size = output.size * self._lanes * self._format.size
                self.body.lines.append(
                    f"call void @llvm.memset.p0.i64(ptr {self._align} %o{index}, i8 0, i64 {size}, i1 false)"
                )
                zeros = []
            arithmetic = self._vector.arithmetic
            stores = [(place, arithmetic.constant(0.0)) for place in zeros]
            stores += [(place, self._operand(node, self._lanes > 1)) for place, node in output.entries]
            for place, value in stores:
                pointer = self._element(f"%o{index}", place * self._lanes)
                self.body.lines.append(f"store {arithmetic.type} {value.text}, ptr {pointer}, {self._align}")
