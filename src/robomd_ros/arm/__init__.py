"""A UR5e that a policy moves: kinematics, what an action means, what must not happen. No ROS."""
