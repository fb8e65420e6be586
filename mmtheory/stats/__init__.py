"""Numbers with error bars: intervals, verdicts, confidence bounds, looks, multiplicity, slopes."""

from ._interval import Interval as Interval
from ._interval import Relation as Relation
from ._interval import Verdict as Verdict
from ._interval import decide as decide
from ._interval import joint as joint
from ._mean import clopper_pearson as clopper_pearson
from ._mean import student as student
