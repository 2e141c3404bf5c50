"""A participant: asks for its work, has the user's functions do it, and hands in what they say.

Nothing is acknowledged before it is done. So a client that dies over its work, or that the server
dies under, finds the same work again, and does what still counts.
"""

import logging
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import Any, Literal, TypeVar

from fl_client import places, signing_in
from fl_client.alone import alone
from fl_client.api import Api
from fl_client.errors import FlError
from fl_client.inbox import Inbox, listening, new_secret
from fl_client.isolated import Isolated, is_child
from fl_client.job import MOMENTS, TEST, TRAIN, Function
from fl_client.local import Factory, Local
from fl_client.swag import swag_moments
from fl_client.transport import Transport
from fl_client.updates import ENCODINGS
from fl_client.work import OVER, Item, Runner, Wire, Worker

logger = logging.getLogger(__name__)

F = TypeVar("F", bound=Function)


class Client:
    """One participant in any number of trainings.

    - The server is at `url`, else at the environment's FL_URL, else on this machine.
    - It is the user of a `token`; or `name`, by the token that it kept when it was run before, by
      its `password`, or as a new user with `register`; or, without a name, FL_TOKEN's.
    - `model` makes the module of torch that weights are loaded into (`model=Net`). Without it
      functions get a dict of arrays, or of a model with code the module itself, where that is
      trusted or isolated.
    - `encoding` is how updates are sent: whole, as differences (`delta`), or as the largest `share`
      of these (`topk`); `dtype` is the type of downloads.
    - `listen` is the address to be posted to at, `endpoint` the URL by which the server reaches it.
    - For `patience` seconds it waits for a server that doesn't answer.
    """

    def __init__(
        self,
        url: str = "",
        name: str = "",
        *,
        password: str = "",
        token: str = "",
        register: bool = False,
        invitation: str = "",
        model: Factory | None = None,
        trust_model: bool = False,
        isolate: bool | Literal["spawn", "fork"] = False,
        encoding: Literal["state", "delta", "topk"] = "state",
        share: float = 0.01,
        dtype: Literal["", "float16", "bfloat16", "int8"] = "",
        listen: tuple[str, int] | None = None,
        endpoint: str = "",
        patience: float = 600.0,
    ) -> None:
        if encoding not in ENCODINGS:
            raise ValueError(f"An update's encoding is one of: {', '.join(ENCODINGS)}.")
        if hasattr(model, "state_dict") and not isinstance(model, type):
            raise TypeError("`model` makes a module, because each training gets its own: give Net.")
        self.name, self.api = name, Api(Transport(url or places.server(), patience=patience))
        self._password = password
        self._token = token or ("" if name else os.environ.get("FL_TOKEN", ""))
        self._details = {"invitation": invitation} if register else None
        self._model, self._trusts, self._isolates = model, trust_model, isolate
        self._wire = Wire(encoding, share, dtype)
        self._listens, self._endpoint = listen, endpoint
        self._functions: dict[str, Function] = {}

    # --- The user's functions -------------------------------------------------------

    def train(self, function: F) -> F:
        """Have it train: of model and job it returns model, number of samples, maybe metrics."""
        return self._take(TRAIN, function)

    def test(self, function: F) -> F:
        """Have it test: of model and job it returns metrics by name."""
        return self._take(TEST, function)

    def moments(self, function: F) -> F:
        """Have it train on for SWAG, and return the two moments and the number of samples.

        Without one the function for training is called five times.
        """
        return self._take(MOMENTS, function)

    def _take(self, kind: str, function: F) -> F:
        self._functions[kind] = function
        return function

    def _complete(self) -> Mapping[str, Function]:
        for kind in (TRAIN, TEST):
            if kind not in self._functions:
                raise FlError(
                    f"A client needs a function to {kind}: decorate one by @client.{kind}."
                )
        return {MOMENTS: swag_moments(self._functions[TRAIN])} | self._functions

    # --- Running --------------------------------------------------------------------

    def run(self, *, once: bool = False) -> None:
        """Take part until Ctrl-C; with `once` until the first training is over."""
        if is_child():  # which reads the program for its functions
            return
        _speak()
        functions = self._complete()
        with suppress(KeyboardInterrupt), ExitStack() as stack:
            user = self._sign_in()
            folder = places.state_folder(self.name, self.api.transport.url)
            stack.enter_context(alone(folder))
            runner = stack.enter_context(self._runner(functions))
            own = self._model is not None
            worker = Worker(self.api, user["id"], folder, runner, own, self._wire)
            for item in self._items(user, stack):
                worker.do(item)
                self._tick_off(item)
                if once and item["notification_type"] in OVER:
                    return

    def _runner(self, functions: Mapping[str, Function]) -> AbstractContextManager[Runner]:
        if self._isolates:
            how = "spawn" if self._isolates is True else self._isolates
            return Isolated(functions, self._model, how=how)
        return Local(functions, self._model, trust_model=self._trusts)

    def _sign_in(self) -> dict[str, Any]:
        user = self._find_myself()
        self.name = user["username"]
        logger.info("Taking part as %s at %s.", self.name, self.api.transport.url)
        return user

    def _find_myself(self) -> dict[str, Any]:
        if self._token:
            user = signing_in.by_token(self.api, self._token)
            if user is None:
                raise FlError("The server knows no such token.")
            return user
        user = signing_in.by_kept_token(self.api, self.name) if self.name else None
        if user is None and self._details is not None:
            return signing_in.register(
                self.api, self.name, self._password, client=True, **self._details
            )
        if user is None and self._password:
            user = signing_in.by_password(self.api, self.name, self._password)
        if user is None:
            raise signing_in.nobody(self.api, self.name)
        return user

    # --- Where work comes from, and what becomes of it ------------------------------

    def _items(self, user: dict[str, Any], stack: ExitStack) -> Iterator[Item]:
        if self._listens is None:
            if user["message_endpoint"]:  # where nobody listens any more
                self.api.change_myself(message_endpoint="")
            return self._pulled()
        url = self.api.transport.url
        secret = places.kept(self.name, url, "secret") or new_secret()
        places.keep(self.name, url, "secret", secret)
        inbox = Inbox(places.state_folder(self.name, url) / "inbox")
        port = stack.enter_context(listening(self._listens, secret, inbox))
        endpoint = self._endpoint or _endpoint(self._listens[0], port)
        self.api.change_myself(message_endpoint=endpoint, notification_secret=secret)
        return inbox.items()

    def _pulled(self) -> Iterator[Item]:
        while True:
            items, pause = self.api.notifications()
            yield from items
            time.sleep(pause)  # a busy server doesn't wait

    def _tick_off(self, item: Item) -> None:
        """Have it forgotten, now that its work is done: else it comes again."""
        if "file" in item:  # posted
            item["file"].unlink()
        else:
            self.api.acknowledge(item["id"])


def _endpoint(host: str, port: int) -> str:
    """Return the URL of this machine, as others may know it."""
    name = socket.gethostname() if host in ("", "0.0.0.0", "::") else host  # noqa: S104
    return f"http://{name}:{port}/"


def _speak() -> None:
    """Say what happens on the terminal, unless the program has its own way to log."""
    ours = logging.getLogger("fl_client")
    if not ours.hasHandlers():
        handler = logging.StreamHandler(sys.stdout)
        ours.addHandler(handler)
        ours.setLevel(logging.INFO)
