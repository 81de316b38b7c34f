"""NutAssemblySquare: the square nut, picked up by its handle, onto the square peg."""

from math import pi

from sim_bridge.expert import CLOSE, OPEN, Leg, carry, past, to, up_to
from sim_bridge.tasks.base import Camera, Spot, Task

_TABLE = 0.82  # [m]
_PEG_TOP = 0.10  # [m] above the peg's centre
_FREE = 0.010  # [m] beyond the handle's middle, where the fingers clear the ring

TASK = Task(
    name="square",
    environment="NutAssemblySquare",
    horizon=80,
    # the handle points to the robot; robosuite's nut ends 5 cm below itself
    spots={"SquareNut": Spot((-0.05, 0.03), (-0.03, 0.07), _TABLE - 0.04, (pi - 0.15, pi + 0.15))},
    things={"nut": "SquareNut_main", "handle": "SquareNut_handle_site", "peg": "peg1"},
    colors={"peg_color": ("peg1",), "table_color": ("table_visual",)},
    sizes={"peg_size": ("peg1",), "table_size": ("table_visual",)},
    legs=(
        Leg(past("nut", "handle", _FREE), hover=0.06, reached=0.014),
        Leg(gripper=CLOSE, wait=6, steady=True, mark=True),
        Leg(up_to(_TABLE + 0.17), gripper=CLOSE, reached=0.02),
        Leg(carry("nut", to("peg", _PEG_TOP + 0.025)), gripper=CLOSE, near=0.01, reached=0.006),
        Leg(carry("nut", to("peg", 0.0)), gripper=CLOSE, reached=0.012, steady=True, mark=True),
        Leg(gripper=OPEN, steady=True, wait=20),
        Leg(up_to(2.0), gripper=OPEN, steady=True),
    ),
    camera=Camera(position=(0.62, 0.05, 1.38), look_at=(0.10, 0.05, 0.87)),
)
