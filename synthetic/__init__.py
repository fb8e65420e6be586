"""Program 1 of mmtheory: exact synthetic worlds, their claims, and the experiments in them."""

OWNER = "mmtheory"
