"""pytorch_mppi: one sample with a cost that is NaN makes the whole plan NaN, for good.

Defect, found by `a_number_that_is_not_finite_never_wins`. The minimum over all costs is NaN as soon as one of them is,
and so are all weights. The nominal controls are NaN from then on, and ``command`` returns NaN without a word, in every
later call too.
"""

from importlib.metadata import version

import torch
from pytorch_mppi import MPPI

print("pytorch-mppi", version("pytorch-mppi"))
torch.manual_seed(0)
planner = MPPI(lambda x, u: torch.sqrt(2.0 - x - u), lambda x, u: x[:, 0], nx=1, noise_sigma=torch.eye(1),
               num_samples=64, horizon=1, U_init=torch.zeros(1, 1))  # fmt: skip
print("first command", planner.command(torch.zeros(1)))
print("costs that are NaN:", int(torch.isnan(planner.cost_total).sum()), "of", len(planner.cost_total))
print("second command", planner.command(torch.zeros(1)))
