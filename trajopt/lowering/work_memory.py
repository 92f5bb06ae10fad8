"""How a long program is cut into pieces, and where what crosses a cut is kept."""

from __future__ import annotations

from collections.abc import Sequence

from trajopt.lowering.program import Program

# Measured on a chain of pendulums; seconds to compile, then microseconds a call:
#     operations    whole         pieces of 4,000   pieces of 1,000   pieces of 500
#      21,182       0.91   2.8      0.89   3.1        0.78   3.3
#      39,103       2.2    5.1      2.1    6.3        1.4    6.0
#     106,640       9.8   19.7      6.0   25.9        4.2   24.8        3.6   21.5
LONGEST_WHOLE = 20_000
PIECE = 500


class WorkMemory:
    """Which piece computes each operation, and where the results that other pieces read are kept."""

    def __init__(self, program: Program, widths: Sequence[int]) -> None:
        count = len(program.operations)
        self.pieces = 1 if count <= LONGEST_WHOLE else -(-count // PIECE)
        self._piece_size = max(1, -(-count // self.pieces))
        last = [self._piece(node) for node in range(count)]
        for node, operation in enumerate(program.operations):
            for k in operation.operands:
                last[k] = self._piece(node)
        for output in program.outputs:
            for _, node in output.entries:
                last[node] = self.pieces
        self._leaving: list[list[int]] = [[] for _ in range(self.pieces)]
        self._slots: dict[int, int] = {}
        self._count = count
        self.size = 0
        self._assign(program, last, widths)

    def _piece(self, node: int) -> int:
        return node // self._piece_size

    def _assign(self, program: Program, last: list[int], widths: Sequence[int]) -> None:
        """Give slots, and take them back after the piece that reads them last."""
        names = [operation.name for operation in program.operations]
        free: dict[int, list[int]] = {}
        expiring: list[list[int]] = [[] for _ in range(self.pieces + 1)]
        for piece in range(self.pieces):
            for node in expiring[piece]:
                free.setdefault(widths[node], []).append(self._slots[node])
            for node in self._defined(names, piece):
                if last[node] > piece:
                    slots = free.setdefault(widths[node], [])
                    if not slots:
                        slots.append(self.size)
                        self.size += widths[node]
                    self._slots[node] = slots.pop()
                    self._leaving[piece].append(node)
                    expiring[min(last[node] + 1, self.pieces)].append(node)

    def _defined(self, names: Sequence[str], piece: int) -> list[int]:
        """Operations that a piece leaves behind; inputs are all read by the first, constants need no memory."""
        own = [node for node in self.nodes(piece) if names[node] not in ("INPUT", "CONST")]
        return [node for node, name in enumerate(names) if name == "INPUT"] + own if piece == 0 else own

    def nodes(self, piece: int) -> range:
        """Operations of a piece."""
        return range(piece * self._piece_size, min((piece + 1) * self._piece_size, self._count))

    def leaving(self, piece: int) -> list[int]:
        """Operations whose results a piece leaves in memory for later ones."""
        return self._leaving[piece]

    def slot(self, node: int) -> int:
        """Offset of a result in the work memory, in doubles."""
        return self._slots[node]
