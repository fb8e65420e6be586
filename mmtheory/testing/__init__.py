"""Contracts and hypothesis strategies to point at your own world, claim, method or aggregator (needs the `test` extra)."""
