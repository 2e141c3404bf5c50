"""The demo from its first process to its result."""

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from fl_server.demo.actor import Actor
from fl_server.demo.children import PATIENCE_SECONDS, Children, DemoError
from fl_server.demo.progress import Progress, Shard, read_shards
from fl_server.demo.report import Result
from fl_server.demo.view import LiveView, PlainView

ROOT = Path(__file__).resolve().parents[2]
MANAGE = ROOT / "manage.py"
EXAMPLE = ROOT / "examples" / "digits"
EPOCHS = 5
"""Passes over its data that a client makes in a round."""
PROXIMAL_MU = 0.01
CHAIN_PERIOD = 2
"""Local rounds to a merge in a daisy chain."""
POLL_SECONDS = 0.1
FRAMES = 3
"""How often the picture is drawn for each request to the server."""


@dataclass(frozen=True)
class Plan:
    """What the user chose."""

    clients: int
    rounds: int
    method: str
    seed: int

    @property
    def period(self) -> int:
        """Return how many local rounds make one round, which ends in a merge."""
        return CHAIN_PERIOD if self.method == "FedDC" else 1


class Demo:
    """One run of a plan; every process it takes belongs to `children`."""

    def __init__(self, plan: Plan, children: Children, console: Console) -> None:
        self.plan, self.children, self.console = plan, children, console
        self.slices = children.folder / "slices"
        self.initial = children.folder / "initial.pt"
        self.final = children.folder / "final.pt"
        self.url = ""
        """The server's, once it answers."""

    def run(self, *, keep: bool) -> Result:
        """Train together, then each client alone; with `keep` the server goes on running."""
        self.console.print("Starting a server and splitting the digits ...")
        self.children.start("server", MANAGE, "serve", "--port", "0")
        shards = self._split()
        self.url = self._await_server()
        self.console.print(f"The server answers at {self.url}. The clients register ...")
        actor = self._gather(shards)
        plan = self.plan
        actor.start_training(self.initial, plan.method, plan.rounds, plan.period)
        progress = self._follow(actor, shards)
        actor.download(self.final)
        if not keep:
            self.children.ask_to_end("server")  # which takes some seconds
        self.console.print("Each client trains alone, for comparison ...")
        return self._compare(shards, progress)

    def _split(self) -> list[Shard]:
        clients, seed = ("--of", self.plan.clients), ("--seed", self.plan.seed)
        self.children.run("data", EXAMPLE / "data.py", self.slices, *clients, *seed)
        self.children.run("model", EXAMPLE / "model.py", self.initial, *seed)
        return read_shards(self.slices, self.plan.clients)

    def _await_server(self) -> str:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            log = self.children.log("server").read_text()
            if ready := re.search(r"^ready (\S+)$", log, re.MULTILINE):
                return ready[1]
            self.children.check()
            time.sleep(POLL_SECONDS)
        raise DemoError(f"The server wasn't ready within {PATIENCE_SECONDS} s.")

    def _gather(self, shards: list[Shard]) -> Actor:
        mu = PROXIMAL_MU if self.plan.method == "FedProx" else 0.0
        for shard in shards:
            data = self.slices / f"{shard.name}.npz"
            how = ("--once", "--port", 0, "--epochs", EPOCHS, "--proximal-mu", mu)
            command = (EXAMPLE / "client.py", data, "--name", shard.name, *how)
            self.children.start(shard.name, *command, FL_URL=self.url)
        actor = Actor(self.url)
        actor.wait_for_clients([shard.name for shard in shards], self.children.check)
        return actor

    def _follow(self, actor: Actor, shards: list[Shard]) -> Progress:
        progress, changed = None, time.monotonic()
        view = LiveView if self.console.is_terminal else PlainView
        with view(self.console, shards, self.plan.rounds, self.plan.method) as shown:
            while progress is None or not progress.over:
                self.children.check()
                before, progress = progress, actor.progress()
                for _ in range(FRAMES):
                    shown.show(progress)
                    time.sleep(POLL_SECONDS)
                if progress != before:
                    changed = time.monotonic()
                elif time.monotonic() > changed + PATIENCE_SECONDS:
                    raise DemoError(f"Nothing has happened for {PATIENCE_SECONDS} s.")
        if progress.state == "E":
            raise DemoError(f"The training ended in an error: {progress.reason}")
        return progress

    def _compare(self, shards: list[Shard], progress: Progress) -> Result:
        models = (self.slices, self.initial, self.final)
        epochs = ("--epochs", EPOCHS * self.plan.rounds * self.plan.period)
        said = self.children.run("compare", EXAMPLE / "compare.py", *models, *epochs)
        accuracies = json.loads(said.splitlines()[-1])
        return Result(shards, progress, accuracies["alone"], accuracies["global"])
