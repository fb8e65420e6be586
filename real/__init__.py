"""Program 2 of mmtheory: real data sets, trainers and benchmarks."""

OWNER = "mmtheory"
