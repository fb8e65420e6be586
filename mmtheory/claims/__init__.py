"""Claims: falsifiable statements, the confrontation that tries to refute them, and the registry that programs fill."""

from ._claim import Budget as Budget
from ._claim import Claim as Claim
from ._claim import Control as Control
from ._claim import Misstated as Misstated
from ._claim import Sides as Sides
from ._claim import Source as Source
from ._claim import Trial as Trial
from ._claim import misstated as misstated
from ._confront import Case as Case
from ._confront import Finding as Finding
from ._confront import Look as Look
from ._confront import confront as confront
from ._registry import registered as registered
