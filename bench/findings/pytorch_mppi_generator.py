"""pytorch_mppi: planners share PyTorch's global generator, so none can be reproduced beside another.

By design, seen in `threads_do_not_meet` and `a_batch_is_its_members`. There is no argument for a generator or a seed.
What one planner draws moves all others: in threads the answer depends on the scheduler, and even in sequence on
whatever else draws random numbers. The adapter seeds the global generator for each solve and puts it back, which
threads undo.
"""

from importlib.metadata import version

import torch
from pytorch_mppi import MPPI

print("pytorch-mppi", version("pytorch-mppi"))


def planner():
    return MPPI(lambda x, u: x + u, lambda x, u: x[:, 0] ** 2, nx=1, noise_sigma=torch.eye(1), num_samples=64,
                horizon=5, U_init=torch.zeros(5, 1))  # fmt: skip


for other in (False, True):
    torch.manual_seed(0)
    mine, theirs = planner(), planner()
    if other:
        theirs.command(torch.ones(1))
    print(f"command with another planner at work: {other}: {mine.command(torch.ones(1)).item():.6f}")
