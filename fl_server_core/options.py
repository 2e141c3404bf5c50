"""What `options` of a training may say: every option once, with its default and its words.

The request's schema, the OpenAPI document and docs/options.md are made of these classes; whatever
asks for an option reads an attribute of `Training.typed_options`.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from datetime import timedelta
from fractions import Fraction
from typing import Any, ClassVar, NewType, Self, get_args

from django.db.models import TextChoices

from fl_archive.part import Part

SMALL = 2**31 - 1
"""What a PositiveIntegerField holds."""

BIG = 2**63 - 1

Share = NewType("Share", float)
"""A whole number from 1 on, or a fraction between 0 and 1."""

Patterns = NewType("Patterns", Sequence[str])
"""Names as `fnmatch` knows them: `*`, `?`, `[…]`."""

MethodOptions = NewType("MethodOptions", dict[str, Any])
"""Options that only the method itself can read; it has a class of its own for them."""


def count(share: Share, whole: int) -> int:
    """Return a share of a whole, rounded up; a whole number is returned as it is."""
    return int(share) if share >= 1 else max(1, math.ceil(round(share * whole, 6)))


@dataclass(frozen=True)
class Range:
    """What a number may be; `above` and `below`, unlike `least` and `most`, leave the bound out."""

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None


def option(
    words: str, default: Any = None, *, otherwise: str = "", within: Range | None = None
) -> Any:
    """Declare an option: what it says, what holds without it, and which numbers it takes.

    `otherwise` describes a default that depends on something else.
    """
    about = {"words": words, "otherwise": otherwise, "within": within}
    return field(default=default, metadata=about)


class Options:
    """A group of options: a frozen dataclass, each field made by `option`."""

    keeps_unknown: ClassVar[bool] = False
    """Whether a key that isn't known is kept for the clients instead of refused."""

    @classmethod
    def read(cls, given: Mapping[str, Any] | None) -> Self:
        """Return the known options; those that aren't given have their defaults."""
        kinds, given = types_of(cls), given or {}
        said = {name: given[name] for name in kinds if given.get(name) is not None}
        return cls(**{name: _read(kinds[name], value) for name, value in said.items()})

    @classmethod
    def unknown(cls, given: Mapping[str, Any]) -> list[str]:
        """Return the keys that the server doesn't know, as paths such as `uncertainty.n`."""
        kinds = types_of(cls)
        found = [name for name in given if name not in kinds]
        for name, value in given.items():
            if is_group(kinds.get(name)) and isinstance(value, dict):
                found += [f"{name}.{inner}" for inner in kinds[name].unknown(value)]
        return found

    def objections(self) -> Iterator[tuple[str, str]]:
        """Yield why the combination isn't allowed: an option's path, or "", and a sentence."""
        yield from ()


@dataclass(frozen=True, kw_only=True)
class NoOptions(Options):
    """None at all."""


def types_of(group: type[Options]) -> dict[str, Any]:
    """Return each option's type by its name; what may be left out has it without None."""
    said = fields(group)  # type: ignore[arg-type]  # each group is a dataclass
    return {each.name: (get_args(each.type) or (each.type,))[0] for each in said}


def is_group(kind: Any) -> bool:
    """Tell whether an option is a group of options."""
    return isinstance(kind, type) and issubclass(kind, Options)


def default_of(option: Field[Any]) -> str:
    """Return in words what holds where an option isn't given; "" for what must be, and groups."""
    default = option.default
    if option.metadata["otherwise"] or default is None:
        return option.metadata["otherwise"] or "none"
    if default is MISSING or is_group(type(default)):
        return ""
    return f"`{json.dumps(default)}`".replace('"', "")


def _read(kind: Any, value: Any) -> Any:
    if is_group(kind):
        return kind.read(value)
    return kind(value) if isinstance(kind, type) and issubclass(kind, TextChoices) else value


class Goal(TextChoices):
    """Which way a metric is better."""

    MAX = "max", "more is better"
    MIN = "min", "less is better"


class LateUpdates(TextChoices):
    """What becomes of an update for a round that has closed."""

    REJECT = "reject", "a 400"
    DISCARD = "discard", "a 201, noted but not merged"


class MomentsBy(TextChoices):
    """Who makes SWAG's moments."""

    CLIENTS = "clients", "the participants"
    SERVER = "server", "the server, of its own last models"
    AUTO = "auto", "the server where no participant does, as stock clients know no SWAG round"


class Precision(TextChoices):
    """In how few bits updates may come."""

    FLOAT16 = "float16", "half as many as float32"
    BFLOAT16 = "bfloat16", "half as many, with float32's range and fewer digits"
    INT8 = "int8", "a quarter, with a scale for each output channel"


class Manager(TextChoices):
    """Who changes a training's participants and starts it; a participant may always leave."""

    PARTICIPANTS = "participants", "the actor and the participants"
    ACTOR = "actor", "the actor alone"


@dataclass(frozen=True, kw_only=True)
class MetricGoal(Options):
    """A metric, and which way is better."""

    metric: str = option("A metric that the participants report.", MISSING)
    goal: Goal = option("Which is better.", Goal.MAX)

    @property
    def sign(self) -> int:
        """The factor that makes a greater value a better one."""
        return -1 if self.goal == Goal.MIN else 1


@dataclass(frozen=True, kw_only=True)
class StopWhen(MetricGoal):
    """When a training has learned enough; at least one of `value` and `patience`."""

    value: float | None = option(
        "The mean over the participants, at the end of a test, that is enough."
    )
    patience: int | None = option(
        "Tested rounds without an improvement of that mean.", within=Range(1, SMALL)
    )
    min_delta: float = option("An improvement is more than this.", 0, within=Range(0))

    def objections(self) -> Iterator[tuple[str, str]]:
        """Object to a condition that says nothing."""
        if self.value is None and self.patience is None:
            yield "", "Give value or patience."


@dataclass(frozen=True, kw_only=True)
class RoundOptions(Options):
    """Who is asked in a round, how many answers it needs, how long it waits.

    Of the participants a `sample` is asked for each round, `over_selection` times as many as
    it needs, and the round closes when as many as it needs have answered. Bonawitz et al. 2019,
    "Towards Federated Learning at Scale: System Design", arXiv 1902.01046, sections 2.2 and 5.
    """

    sample: Share | None = option("How many participants a round needs.", otherwise="all")
    over_selection: float = option(
        "How many times as many it asks; it closes when as many as it needs have answered.",
        1,
        within=Range(1, 100),
    )
    quorum: Share | None = option(
        "With how few of those that it needs it may close when no more come in time.",
        otherwise="all",
    )
    deadline_seconds: float | None = option(
        "How long each phase waits: for updates, for SWAG moments, for metrics.",
        within=Range(above=0, most=365 * 24 * 3600),
    )
    round_retries: int | None = option(
        "How often a phase without a quorum is begun anew before the training ends in an error.",
        otherwise="1 with a deadline, else 0",
        within=Range(0, 100),
    )
    late_updates: LateUpdates = option(
        "Whether an update for a closed round is a 400, or a 201 and noted but not merged.",
        LateUpdates.REJECT,
    )
    max_sample_size: int | None = option(
        "A larger sample size counts as this in a merge.", within=Range(1, BIG)
    )
    max_share: float = option(
        "How much of a merge one participant may make up; where there are too few for that, all "
        "count equally.",
        1,
        within=Range(above=0, most=1),
    )
    stop_when: StopWhen | None = option("When the training ends early.", otherwise="never")

    @property
    def deadline(self) -> timedelta | None:
        """How long a phase waits."""
        seconds = self.deadline_seconds
        return None if seconds is None else timedelta(seconds=seconds)

    @property
    def retries(self) -> int:
        """How often a phase is begun anew."""
        if self.round_retries is not None:
            return self.round_retries
        return 0 if self.deadline_seconds is None else 1

    @property
    def share_limit(self) -> Fraction | None:
        """`max_share` as it was written; None if it limits nothing."""
        return None if self.max_share == 1 else Fraction(str(self.max_share))

    def sample_target(self, participants: int) -> int | None:
        """Return how many of so many participants a round needs; None for all."""
        return None if self.sample is None else min(count(self.sample, participants), participants)

    def answers_needed(self, target: int) -> int:
        """Return with how few answers a round may close if no more come in time."""
        return target if self.quorum is None else count(self.quorum, target)

    def objections(self) -> Iterator[tuple[str, str]]:
        """Object to selecting more than all."""
        if self.over_selection != 1 and self.sample is None:
            yield "over_selection", "Needs sample."


@dataclass(frozen=True, kw_only=True)
class CheckpointOptions(Options):
    """Which versions of the model are kept; the newest always is."""

    last: int | None = option(
        "So many of the newest.", otherwise="`FL_KEEP_CHECKPOINTS`, 10", within=Range(1, SMALL)
    )
    every: int | None = option("Those of every n-th round.", within=Range(1, SMALL))
    best: MetricGoal | None = option(
        "The one with the best mean of a metric at the end of its test."
    )


@dataclass(frozen=True, kw_only=True)
class UncertaintyOptions(Options):
    """How often a prediction is sampled, and from what."""

    keeps_unknown = True

    N: int = option("How many samples a prediction draws.", 10, within=Range(1, SMALL))
    softmax: bool = option("Whether every output goes through a softmax first.", default=False)
    swag: MomentsBy = option(
        "Who makes SWAG's moments: the participants, the server of its own last models, or the "
        "server where no participant does.",
        MomentsBy.AUTO,
    )


@dataclass(frozen=True, kw_only=True)
class TensorPatterns(Options):
    """Which of the model's tensors are exchanged, by their names."""

    include: Patterns = option("Patterns; a tensor that one of them matches is exchanged.", ("*",))
    exclude: Patterns = option("Patterns; a tensor that one of them matches isn't.", ())


@dataclass(frozen=True, kw_only=True)
class ExchangeOptions(Options):
    """What of a model is trained and goes to and fro, and in how many bits."""

    tensors: TensorPatterns = option(
        "Which tensors are exchanged; the others stay the global model's.", TensorPatterns()
    )
    dtype: Precision | None = option(
        "In how few bits an update's tensors may come besides their own.", otherwise="their own"
    )

    @property
    def part(self) -> Part:
        """The part of the model that is exchanged."""
        return Part(self.tensors.include, self.tensors.exclude)


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(Options):
    """All that a training's options say to the server; other keys are kept for the clients."""

    keeps_unknown = True

    daisy_chain_period: int = option(
        "Local rounds to a merge, for FedDC; 0 and 1 merge every round.",
        0,
        within=Range(0, SMALL),
    )
    aggregation: MethodOptions | None = option(
        "What the aggregation method is to be told; see below.", otherwise="the method's"
    )
    managed_by: Manager = option(
        "Who changes the participants and starts: the actor and the participants, or the actor "
        "alone; a participant may always leave.",
        Manager.PARTICIPANTS,
    )
    exchange: ExchangeOptions = option("What goes to and fro.", ExchangeOptions())
    round: RoundOptions = option("How its rounds go.", RoundOptions())
    checkpoints: CheckpointOptions = option(
        "Which versions of the model are kept.", CheckpointOptions()
    )
    uncertainty: UncertaintyOptions = option("How predictions are sampled.", UncertaintyOptions())

    @property
    def chain_period(self) -> int:
        """How many local rounds there are to a merge."""
        return max(self.daisy_chain_period, 1)

    def objections(self) -> Iterator[tuple[str, str]]:
        """Object to a sample in a daisy chain, which needs every participant in every round."""
        if self.chain_period > 1 and self.round.sample is not None:
            yield "round.sample", "Not with a daisy chain."
