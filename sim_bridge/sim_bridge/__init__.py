"""robosuite behind the cell's interface: the same topics, service and action as the real cell."""
