"""PickPlaceCan: the can from the bin of light wood into its quarter of the dark one, and let go."""

from sim_bridge.expert import CLOSE, OPEN, Leg, at, to, up_to
from sim_bridge.tasks.base import Camera, Spot, Task

_BIN = 0.8  # [m] robosuite's reference height of the bins; its can ends 2 cm below the mesh
_QUARTER = (0.1975, 0.4025)  # [m] middle of the can's quarter
_OVER = 1.0  # [m] height of the hand that clears the walls with the can

TASK = Task(
    name="can",
    environment="PickPlaceCan",
    horizon=90,
    spots={"Can": Spot((0.04, 0.16), (-0.27, -0.15), _BIN)},
    things={"can": "Can_main"},
    colors={"can_color": ("Can_g0_visual",), "box_color": ("bin1", "bin2")},
    sizes={"box_size": ("bin2",)},
    legs=(
        Leg(to("can", 0.01), hover=0.08, reached=0.012),
        Leg(gripper=CLOSE, wait=3, steady=True, mark=True),
        Leg(up_to(_OVER), gripper=CLOSE, reached=0.03),
        Leg(at(*_QUARTER, _OVER), gripper=CLOSE, reached=0.04),
        Leg(at(*_QUARTER, 0.90), gripper=CLOSE, reached=0.03),
        Leg(gripper=OPEN, wait=3, steady=True, mark=True),
        Leg(up_to(2.0), gripper=OPEN, steady=True),
    ),
    camera=Camera(position=(0.85, 0.08, 1.60), look_at=(0.08, 0.08, 0.90)),
)
