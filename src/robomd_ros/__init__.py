"""RoboMD for ROS 2: where does a manipulation policy fail, and how sure is that?"""

__version__ = "0.1.0"
