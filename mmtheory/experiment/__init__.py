"""Sweeps cut into cells, a store that keeps them, executors that fill it, and reports that read it."""

from ._artefacts import compact as compact
from ._artefacts import write_artefacts as write_artefacts
from ._executor import Executor as Executor
from ._executor import Outcome as Outcome
from ._executor import Pool as Pool
from ._executor import Serial as Serial
from ._finding import by_verdict as by_verdict
from ._finding import ends as ends
from ._finding import family_error as family_error
from ._finding import finite as finite
from ._finding import interval as interval
from ._provenance import code_version as code_version
from ._provenance import made_by as made_by
from ._report import Report as Report
from ._store import Record as Record
from ._store import Store as Store
from ._sweep import Cell as Cell
from ._sweep import Sweep as Sweep
from ._verify import Question as Question
from ._verify import Verification as Verification
from ._verify import Watcher as Watcher
from ._verify import select as select
from ._verify import stored_claims as stored_claims
from ._verify import verify as verify
