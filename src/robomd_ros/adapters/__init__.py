"""The only shared rclpy code: names, QoS, parameters, conversions, base node, runner.

Import this package before any message module: without ROS_PYTHON_CHECK_FIELDS a wrongly typed field (an int in a
float64, a numpy scalar) is sent as garbage, silently, and rclpy reads the variable when a message is first imported.
"""

import os

os.environ.setdefault("ROS_PYTHON_CHECK_FIELDS", "1")
