"""pytorch_mppi: three places where the interface is not what its documentation says.

Documentation, met while the adapter was written. ``running_cost(state, action)`` takes "batch state and action (same as
dynamics)", but is evaluated at the state *after* the step with the action of the step, so that the initial state costs
nothing and the last one is paid in both costs; ``terminal_state_cost`` is documented as ``function(state)`` and called
with states and actions; bounds may be plain numbers if one of them is given, but not if both are.
"""

from importlib.metadata import version

import torch
from pytorch_mppi import MPPI

print("pytorch-mppi", version("pytorch-mppi"))
count = {"nx": 1, "noise_sigma": torch.eye(1), "num_samples": 1, "horizon": 3}
seen = []
MPPI(lambda x, u: x + 1, lambda x, u: seen.append(x.item()) or x[:, 0], **count).command(torch.zeros(1))
print("from the state 0 the running cost sees the states", seen)
for wrong in ({"terminal_state_cost": lambda x: x[:, 0]}, {"u_min": -1.0, "u_max": 1.0}, {"u_max": 1.0}):
    try:
        MPPI(lambda x, u: x + 1, lambda x, u: x[:, 0], **count, **wrong).command(torch.zeros(1))
        print(*wrong, "taken")
    except (AttributeError, TypeError) as error:
        print(*wrong, f"{type(error).__name__}: {error}")
