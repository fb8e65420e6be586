"""Numbers with error bars: intervals, verdicts, confidence bounds, looks, multiplicity, slopes."""

from ._bounded import dkw as dkw
from ._bounded import empirical_bernstein as empirical_bernstein
from ._bounded import hoeffding as hoeffding
from ._gate import gate as gate
from ._gate import gate_power as gate_power
from ._gate import gate_size as gate_size
from ._holm import holm as holm
from ._holm import rejected as rejected
from ._interval import Interval as Interval
from ._interval import Relation as Relation
from ._interval import Verdict as Verdict
from ._interval import decide as decide
from ._interval import joint as joint
from ._mean import clopper_pearson as clopper_pearson
from ._mean import student as student
from ._ranking import average_precision as average_precision
from ._ranking import discounted_gain as discounted_gain
from ._ranking import normalised_gain as normalised_gain
from ._sequential import betting_interval as betting_interval
from ._sequential import betting_process as betting_process
from ._sequential import look_alpha as look_alpha
from ._sign_flip import sign_flip as sign_flip
from ._slope import exponent as exponent
from ._slope import slope as slope
from ._slope import theil_sen as theil_sen
