"""Types, variation catalogue, rollout store, metrics, statistics and errors: numpy and the standard library."""
