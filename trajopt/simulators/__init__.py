"""Simulators as dynamics, and problems as environments.

`MuJoCoDynamics` steps a MuJoCo model, `GymnasiumDynamics` any environment whose state can be saved and restored, and
`to_gymnasium` makes an environment of a problem. The packages behind them are extras, imported when they are used.
"""

from trajopt.simulators.gymnasium_dynamics import GymnasiumDynamics
from trajopt.simulators.mujoco_dynamics import MuJoCoDynamics
from trajopt.simulators.to_gymnasium import to_gymnasium

__all__ = ["GymnasiumDynamics", "MuJoCoDynamics", "to_gymnasium"]
