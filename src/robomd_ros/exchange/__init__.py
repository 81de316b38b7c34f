"""Rollouts from and to what others use: rosbag2, LeRobot datasets, robomimic HDF5. No ROS needed."""
