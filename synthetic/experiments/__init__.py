"""Experiments in the synthetic worlds: a sweep, a measure, a report."""
