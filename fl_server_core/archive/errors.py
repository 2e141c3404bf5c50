"""What can be wrong with a model file; every message is a sentence for the client.

ArchiveError
├── NotAModel   neither a TorchScript archive nor a saved module
├── Refused     readable, but holds something that is not admitted; says what to do
└── Mismatch    an update whose tensors are not the global model's, or not finite
"""


class ArchiveError(Exception):
    """A model file that can't be used."""


class NotAModel(ArchiveError):
    """The bytes are no model of a supported format."""


class Refused(ArchiveError):
    """The file holds something that must not be handed on or can't be supported."""


class Mismatch(ArchiveError):
    """The update's tensors don't fit the global model's."""
