"""What a runner is asked to do, as one line of JSON each. All names are paths of files."""

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Load:
    """Load models: archives, each perhaps with the numbers to put into it, else "".

    `moments` is empty or holds SWAG's first and second. `device` is an `FL_DEVICE`.
    """

    members: list[tuple[str, str]]
    moments: list[str]
    preprocessing: str
    device: str


@dataclass(frozen=True)
class Predict:
    """Predict with what is loaded; the result is a safetensors file.

    `is_json` tells that the input came as JSON, a list or base64; else it is bytes of any kind.
    """

    method: str
    samples: int
    softmax: bool
    input: str
    is_json: bool
    input_shape: list[int | None] | None
    max_batch: int
    output: str


@dataclass(frozen=True)
class Summarise:
    """Describe the layers of the loaded model as JSON."""

    input_shape: list[int | None]
    output: str


@dataclass(frozen=True)
class Pack:
    """Turn the result of a `Predict` into an answer; for a runner that loads no model."""

    source: str
    form: str
    output: str


Job = Load | Predict | Summarise | Pack
KINDS: dict[str, type[Job]] = {kind.__name__: kind for kind in (Load, Predict, Summarise, Pack)}


def encode(job: Job) -> bytes:
    """Return the job's line."""
    return json.dumps({"kind": type(job).__name__, **asdict(job)}).encode() + b"\n"


def decode(line: bytes) -> Job:
    """Return the job of a line."""
    fields = json.loads(line)
    return KINDS[fields.pop("kind")](**fields)
