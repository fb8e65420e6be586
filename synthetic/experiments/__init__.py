"""Experiments in synthetic worlds: what is trained, measured, compared and drawn."""
