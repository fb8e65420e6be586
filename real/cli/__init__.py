"""Sub-commands of `mmtheory` that this program brings."""
