"""How a job can end without a result.

    RunnerError
    ├── JobRefused      the input doesn't fit, or the model refuses it
    │   └── RunnerSpent  and that runner can do no more
    ├── CannotLoad      a stored file that torch can't load
    │   └── Missing     because this machine lacks something
    ├── RunnerDied      the runner ended: out of memory, most likely
    ├── RunnerTooSlow   it took too long and was killed
    ├── NoRunner        none can be started now
    ├── NoCage          the runner isn't caged as it must be, and does nothing
    └── RunnerFault     an error of our own in the runner

JobRefused and Missing have sentences for the client, JobRefused perhaps several: one a line.
"""


class RunnerError(Exception):
    """A job without a result."""


class JobRefused(RunnerError):
    """The job can't be done with this input."""


class RunnerSpent(JobRefused):
    """Besides, its runner can do no job any more."""


class CannotLoad(RunnerError):
    """The model, or what belongs to it, can't be loaded."""


class Missing(CannotLoad):
    """The machine lacks a library or a device that is needed."""


class RunnerDied(RunnerError):
    """The runner ended before it answered."""


class RunnerTooSlow(RunnerError):
    """The runner didn't answer in time."""


class NoRunner(RunnerError):
    """What starts runners can't be reached."""


class NoCage(RunnerError):
    """The system lacks what holds a model; the message says what."""


class RunnerFault(RunnerError):
    """The runner's own code failed; the message is its traceback."""
