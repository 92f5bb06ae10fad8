"""Expressions to machine code: CasADi SX functions become C functions that kernels call by address."""

from trajopt.lowering.machine_code import MachineCode, compile_functions, preferred_lanes

__all__ = ["MachineCode", "compile_functions", "preferred_lanes"]
