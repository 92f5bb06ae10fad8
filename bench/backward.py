"""``python -m bench.backward``: one stage of the Riccati recursion by size, beside NumPy's BLAS on the same products.

Row combinations in vector registers (`trajopt.solvers.kernels.rows`) serve every size; plain loops took 66 us a stage
at 37 states and 12 controls.
"""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.measure import duration, take_turns
from trajopt.lowering.kernel import kernel
from trajopt.solvers.kernels import ddp
from trajopt.solvers.kernels.riccati import action_value, minimise_action, update_value

SIZES = ((2, 1), (4, 1), (13, 4), (37, 12))
STAGES = 100


@kernel
def repeat_stages(F, g, H, work, scale, lower, upper, u, k, K):
    """Sweep over all stages."""
    for s in range(F.shape[0] - 1, -1, -1):
        action_value(s, F, g, H, work.v, work.V, work.q, work.Q, work.T, work.Quu)
        minimise_action(s, work.q, work.Q, work.Quu, 0.0, scale, lower, upper, u, k, K, work.box)
        update_value(s, work.q, work.Q, work.Quu, k, K, work.v, work.V, work.Tu, work.box.trial)


def with_blas(F: np.ndarray, g: np.ndarray, H: np.ndarray, v: np.ndarray, V: np.ndarray) -> None:
    """Do the same by matrix products; Python's share is a few microseconds a call."""
    nx = len(v)
    for s in range(len(F) - 1, -1, -1):
        q, Q = g[s] + F[s].T @ v, H[s] + F[s].T @ (V @ F[s])
        gains = -np.linalg.solve(Q[nx:, nx:], np.column_stack([q[nx:], Q[nx:, :nx]]))
        v, V = q[:nx] + Q[:nx, nx:] @ gains[:, 0], Q[:nx, :nx] + Q[:nx, nx:] @ gains[:, 1:]


def main() -> None:
    """Print the table."""
    table = Table("states", "controls", "a stage", "NumPy's BLAS", title="The backward pass")
    for nx, nu in SIZES:
        rng, nz, unbounded = np.random.default_rng(0), nx + nu, np.full(nu, np.inf)
        F = 0.7 * rng.normal(size=(STAGES, nx, nz)) / np.sqrt(nz)  # stable, so that nothing overflows
        g, H = rng.normal(size=(STAGES, nz)), np.stack([np.eye(nz)] * STAGES)
        work, k, K = ddp.make_work(nx, nu), np.zeros((STAGES, nu)), np.zeros((STAGES, nu, nx))
        ours = (F, g, H, work, np.ones(nu), -unbounded, unbounded, np.zeros((STAGES, nu)), k, K)
        calls = {
            "ours": lambda ours=ours: repeat_stages(*ours),
            "BLAS": lambda F=F, g=g, H=H, nx=nx: with_blas(F, g, H, np.zeros(nx), np.eye(nx)),
        }
        seconds = take_turns(calls, 50)
        table.add_row(str(nx), str(nu), *(duration(seconds[name] / STAGES) for name in ("ours", "BLAS")))
    Console().print(table)


if __name__ == "__main__":
    main()
