"""What a caller can do wrong; the API turns each class into one status and shape.

    FLError
    ├── InvalidRequest    400, a list: it doesn't fit the state that things are in
    │   ├── CannotStart   400, a detail
    │   └── Unwilling     400, a detail
    ├── NameTaken         400, by its field
    ├── PermissionDenied  403, a detail
    ├── NotFound          404, a detail
    ├── TooMany           429, a detail
    ├── QuotaReached      429, a detail
    ├── NoRoom            507, a detail
    └── UploadRefused     a detail: a part of an upload doesn't fit
        ├── WrongOffset   409
        ├── Expired       410
        ├── TooLong       413
        ├── Locked        423
        └── WrongChecksum 460

Model files have a tree of their own, `fl_archive.errors.ArchiveError`.
"""


class FLError(Exception):
    """A request that can't be carried out; the sentences are meant for the caller."""

    def __str__(self) -> str:
        return " ".join(map(str, self.args))


class InvalidRequest(FLError):
    """The request doesn't fit the state of the training or the model."""


class CannotStart(InvalidRequest):
    """The training can't be started."""


class Unwilling(InvalidRequest):
    """A user takes part in no trainings of this actor."""


class NameTaken(FLError):
    """Another row has this value of `field`."""

    def __init__(self, sentence: str, *, field: str) -> None:
        super().__init__(sentence)
        self.field = field


class PermissionDenied(FLError):
    """The caller may not do this."""


class NotFound(FLError):
    """There is nothing of this kind here."""


class TooMany(FLError):
    """The caller, or all together, do this too often; it may be tried again after `seconds`."""

    def __init__(self, sentence: str, *, seconds: int) -> None:
        super().__init__(sentence)
        self.seconds = seconds


class QuotaReached(FLError):
    """The caller has as many of something as one user may have."""


class NoRoom(FLError):
    """The caller has stored as much as one user may."""


class UploadRefused(FLError):
    """An upload can't go on like this."""


class WrongOffset(UploadRefused):
    """A part begins elsewhere than the upload has come to."""


class Expired(UploadRefused):
    """The upload has waited too long to be used."""


class TooLong(UploadRefused):
    """An upload is to be longer than it may, or a part than what is missing."""


class Locked(UploadRefused):
    """Another request is sending a part of the same upload."""


class WrongChecksum(UploadRefused):
    """A part isn't what was sent."""
