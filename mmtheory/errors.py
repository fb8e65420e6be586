"""Every exception that mmtheory raises on purpose; each message says what was expected and what was found."""


class MmtheoryError(Exception):
    """The root: catching it catches every deliberate error and nothing else."""


class ArgumentError(MmtheoryError, ValueError):
    """A caller's argument is outside the domain of the function or dial it was given to."""


class NotExactError(MmtheoryError):
    """A closed form was asked for outside the conditions under which it is exact."""


class InfeasibleError(MmtheoryError):
    """No world has the requested targets; the message names the feasible interval."""


class DataError(MmtheoryError):
    """A data set or file is not what its layout says (missing, truncated, NaN, a label outside the map)."""


class StoreError(MmtheoryError):
    """A run folder cannot be used (another version, a truncated record, no permission)."""
