"""What can be wrong with a model file; every message is a sentence for the client.

Where clients know the sentence, and so it can't say more, `advice` says what to do.

ArchiveError
├── NotAModel   no model, whether with code or weights alone
├── Refused     readable, but holds something that is not admitted; says what to do
├── HoldsCode   a model with code, where weights alone are wanted
└── Mismatch    an update whose tensors are not the global model's, or not finite
"""

UNEXPECTED = "Loaded torch object is not of expected type."
"""What clients know for a file that is torch's but holds something else."""


class ArchiveError(Exception):
    """A model file that can't be used."""

    def __init__(self, sentence: str, advice: str = "") -> None:
        super().__init__(sentence)
        self.advice = advice


class NotAModel(ArchiveError):
    """The bytes are no model of a supported format."""


class Refused(ArchiveError):
    """The file holds something that must not be handed on or can't be supported."""


class HoldsCode(ArchiveError):
    """The file is a model with code, which its sender may not hand out."""


class Mismatch(ArchiveError):
    """The update's tensors don't fit the global model's."""


def shown(text: str) -> str:
    """A name from a file for a message: quoted, short and without control characters."""
    return ascii(text[:80])
