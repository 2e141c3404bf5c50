"""SCAFFOLD: Karimireddy et al. 2020, "SCAFFOLD: Stochastic Controlled Averaging", 1910.06378.

Algorithm 1, option II. Control variates are sums over the participants just as weights are, so they
travel as buffers of the model, beside the parameter that each is of, and the server's mean of what
the participants send is the next server's control variate. That is the paper's where all take part
in each round; of a sample the mean is of those who were asked, and no longer of all.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from fl_client.errors import Unfit
from fl_client.job import Job

CONTROL = "_control"
"""What a buffer's name has after its parameter's."""

Tensors = list[Any]


class Kept(NamedTuple):
    """A client's control variates: what a round began with, and what came of it."""

    round: int
    before: Tensors
    after: Tensors


def with_controls(model: Any) -> Any:
    """Give a module a control variate beside each parameter that is trained, zero at first.

    The actor uploads the state of such a module, and clients make theirs in the same way:
    `Client(…, model=lambda: with_controls(Net()))`. Returns the module itself.
    """
    for owner, name, parameter in list(_trained(model)):
        owner.register_buffer(name + CONTROL, parameter.detach().clone().zero_())
    return model


class Scaffold:
    """A client's side, kept from round to round; the steps are plain SGD's at `learning_rate`.

    Call `begin` before the first step, `correct` between each `backward` and its step, and `end`
    after the last. A client that is started again begins at zero, and has caught up a round later.
    """

    def __init__(self, learning_rate: float) -> None:
        self._learning_rate = learning_rate
        self._kept: dict[str, Kept] = {}

    def begin(self, model: Any, job: Job) -> None:
        """Take the server's control variates out of the model, and one's own from last time."""
        self._places = list(_trained(model))
        self._received = [parameter.detach().clone() for *_, parameter in self._places]
        self._servers = [getattr(owner, name + CONTROL).clone() for owner, name, _ in self._places]
        self._job, self._steps = job, 0
        self._own = self._find_own()

    def correct(self) -> None:
        """Add to the gradients what tells the server's control variates from one's own."""
        self._steps += 1
        for (*_, parameter), servers, own in self._all():
            if parameter.grad is not None:
                parameter.grad += servers - own

    def end(self) -> None:
        """Put one's new control variates into the model, so that they are sent with it.

        Raises `Unfit` where no step was corrected.
        """
        if not self._steps:
            raise Unfit("SCAFFOLD needs `correct()` between each backward() and its step.")
        passed = self._steps * self._learning_rate
        after = []
        for ((owner, name, parameter), servers, own), received in zip(
            self._all(), self._received, strict=True
        ):
            after.append(own - servers + (received - parameter.detach()) / passed)
            getattr(owner, name + CONTROL).copy_(after[-1])
        self._kept[self._job.training] = Kept(self._job.round, self._own, after)

    def _find_own(self) -> Tensors:
        kept = self._kept.get(self._job.training)
        if kept is None:
            return [servers.clone().zero_() for servers in self._servers]
        return kept.before if kept.round == self._job.round else kept.after  # it is asked anew

    def _all(self) -> Iterator[tuple[Any, Any, Any]]:
        return zip(self._places, self._servers, self._own, strict=True)


def _trained(model: Any) -> Iterator[tuple[Any, str, Any]]:
    """Yield each parameter that is trained, with the module that has it and its name there."""
    for owner in model.modules():
        for name, parameter in owner.named_parameters(recurse=False):
            if parameter.requires_grad:
                yield owner, name, parameter
