"""Benchmarks: one file each with `run(quick: bool) -> dict`; `./robomd bench` runs them."""
