"""mmtheory: exact worlds, claims that can lose, and methods for multi-modal learning.

Importing this package computes nothing and imports nothing heavy; each room is imported by name (``from mmtheory.stats import Interval``).
"""

__version__ = "0.1.0"
OWNER = "mmtheory"
