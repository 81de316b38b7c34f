"""The embedding of (image, text, factor values) and how it is learnt: torch, no ROS."""
