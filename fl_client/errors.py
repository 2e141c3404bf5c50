"""What can go wrong for a client; every message is a sentence for whoever runs it.

FlError
├── Unreachable    the server doesn't answer, or is too busy, for longer than one waits
├── Refused        the server said no, and why; `status` is the answer's
├── Untrusted      a model holds code, and nobody has said that it may run here
├── Unfit          a model, or what a function of the user's returned, can't be used
└── Unknown        who one is, or what is meant, can't be told
"""


class FlError(Exception):
    """Why it can't go on."""


class Unreachable(FlError):
    """No answer in time."""


class Refused(FlError):
    """An answer that says no."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Untrusted(FlError):
    """Code of somebody else's that would run here."""


class Unfit(FlError):
    """What doesn't fit the model, or isn't what a function has to return."""


class Unknown(FlError):
    """Nobody, or nothing, of that name."""
