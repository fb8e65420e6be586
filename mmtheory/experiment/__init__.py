"""Sweeps cut into cells, a store that keeps them, executors that fill it, and reports that read it."""
