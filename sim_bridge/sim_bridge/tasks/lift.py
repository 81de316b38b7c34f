"""Lift: a cube on a table, to be held 4 cm above it. The shipped Lift policies are trained against exactly this."""

from sim_bridge.expert import CLOSE, Leg, to, up_to
from sim_bridge.tasks.base import Spot, Task

_SPREAD = (-0.06, 0.06)  # [m] SCIENCE: with robosuite's 0.03 a blind policy succeeds

TASK = Task(
    name="lift",
    environment="Lift",
    horizon=40,
    spots={"cube": Spot(_SPREAD, _SPREAD, 0.8)},
    things={"cube": "cube_main"},
    colors={"cube_color": ("cube_g0_vis",), "table_color": ("table_visual",)},
    sizes={"cube_size": ("cube_g0_vis",), "table_size": ("table_visual",)},
    legs=(
        Leg(to("cube"), hover=0.06, reached=0.010),
        Leg(gripper=CLOSE, wait=3, steady=True, mark=True),
        Leg(up_to(2.0), gripper=CLOSE, steady=True),
    ),
)
