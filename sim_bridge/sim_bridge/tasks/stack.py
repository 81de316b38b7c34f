"""Stack: the red cube (4 cm) onto the green one (5 cm), and let go."""

from sim_bridge.expert import CLOSE, OPEN, Leg, carry, to, up_to
from sim_bridge.tasks.base import Spot, Task

_TABLE = 0.8  # [m]
_ONTO = 0.025 + 0.020 + 0.002  # [m] from centre to centre, and a gap

TASK = Task(
    name="stack",
    environment="Stack",
    horizon=70,
    spots={
        "cubeA": Spot((-0.04, 0.04), (-0.12, -0.04), _TABLE, (-0.3, 0.3)),
        "cubeB": Spot((-0.04, 0.04), (0.04, 0.12), _TABLE, (-0.3, 0.3)),
    },
    things={"cube": "cubeA_main", "base": "cubeB_main"},
    colors={
        "cube_color": ("cubeA_g0_vis",),
        "base_color": ("cubeB_g0_vis",),
        "table_color": ("table_visual",),
    },
    sizes={"cube_size": ("cubeA_g0_vis",), "table_size": ("table_visual",)},
    legs=(
        Leg(to("cube"), hover=0.06, reached=0.010),
        Leg(gripper=CLOSE, wait=3, steady=True, mark=True),
        Leg(up_to(_TABLE + 0.10), gripper=CLOSE, reached=0.02),
        Leg(carry("cube", to("base", _ONTO)), gripper=CLOSE, hover=0.04, near=0.012, reached=0.008),
        Leg(gripper=OPEN, wait=6, steady=True, mark=True),
        Leg(up_to(2.0), gripper=OPEN, steady=True),
    ),
)
