"""Measured from a model and data: what each modality says, whether gradients conflict, and why a modality lags behind."""

from ._coalitions import coalition_scores as coalition_scores
from ._coalitions import conditional_utilisation as conditional_utilisation
from ._coalitions import trained_shapley as trained_shapley
from ._diagnose import Diagnosis as Diagnosis
from ._diagnose import Gap as Gap
from ._diagnose import diagnose as diagnose
from ._diagnose import judged as judged
from ._diagnose import raw_probes as raw_probes
from ._gradients import GradientReport as GradientReport
from ._gradients import gradient_report as gradient_report
from ._guiding import GuidingRule as GuidingRule
from ._guiding import guiding_rule as guiding_rule
from ._probes import explained as explained
from ._probes import hits as hits
from ._probes import ridge_scores as ridge_scores
from ._probes import unimodal_probes as unimodal_probes
from ._probes import worth as worth
from ._trace import Trace as Trace
from ._trace import decay as decay
from ._trace import follow as follow
