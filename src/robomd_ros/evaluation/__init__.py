"""Every table of the paper that can be re-made, with the trivial baselines beside the method: `robomd evaluate`."""
