"""Mending a policy: what demonstrations to collect, and a fine-tuning that is tested again everywhere."""
