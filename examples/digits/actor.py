"""An actor: whoever has a model and wants it trained, on data that it never sees.

    python actor.py http://127.0.0.1:8000 slices/digits.pt --clients alice bob

It waits until these clients have registered, has them train, shows how good the model is after
each round, and writes it beside the one that it began with. Run again, it is the same user, who
begins another training.
"""

import argparse
import sys
import time
from collections import defaultdict
from pathlib import Path
from statistics import mean

from server import Server


class Actor:
    """One user, its model and its training; `patience` is in seconds."""

    def __init__(self, server: Server, name: str, model: Path, patience: float) -> None:
        self.ask, self.file, self.patience = server.ask, model, patience
        if not server.resume(name, model.parent):
            server.register(name, model.parent, actor=True)
        self.clients: dict[str, str] = {}
        """Names of the clients by their ids."""

    def find(self, names: set[str]) -> None:
        """Wait until clients of these names have registered."""
        deadline = time.monotonic() + self.patience
        while True:
            users = self.ask("GET", "/users/").json()
            self.clients = {u["id"]: u["username"] for u in users if u["username"] in names}
            missing = names - set(self.clients.values())
            if not missing:
                return
            if time.monotonic() >= deadline:
                sys.exit(f"Not registered after {self.patience:.0f} s: {listed(missing)}.")
            time.sleep(0.5)

    def start(self, rounds: int) -> None:
        """Upload the model and have it trained."""
        form = {"name": self.file.stem, "description": "8 x 8 pixels"}
        with self.file.open("rb") as file:
            answer = self.ask("POST", "/models/", data=form, files={"model_file": file})
        model = answer.json()["model_id"]
        plan = {
            "model_id": model,
            "clients": list(self.clients),
            "target_num_updates": rounds,
            "metric_names": ["accuracy", "loss"],
            "aggregation_method": "FedAvg",
        }
        training = self.ask("POST", "/trainings/", json=plan).json()["training_id"]
        self.model, self.training = f"/models/{model}/", f"/trainings/{training}/"
        self.ask("POST", f"{self.training}start/")

    def follow(self) -> None:
        """Show how it goes until the training is over; give up when nothing moves any more."""
        before, changed, shown = None, time.monotonic(), 0
        while True:
            now = self.ask("GET", self.training).json()
            shown = self.show(after=shown)
            if now["state"] == "C":  # completed
                return
            if now["state"] == "E":  # error
                sys.exit(f"The training ended: {now['state_reason']}")
            if now != before:
                before, changed = now, time.monotonic()
            elif time.monotonic() > changed + self.patience:
                awaited = {self.clients[one] for one in now["round"]["awaited"]}
                sys.exit(
                    f"No answer for {self.patience:.0f} s, are these running? {listed(awaited)}"
                )
            time.sleep(0.5)

    def show(self, after: int) -> int:
        """Print the accuracies of the rounds that all have tested; return the last one's number."""
        rounds: dict[int, dict[str, float]] = defaultdict(dict)
        for metric in self.ask("GET", f"{self.model}metrics/").json():
            if metric["key"] == "accuracy":
                rounds[metric["step"]][self.clients[metric["reporter"]]] = metric["value_float"]
        tested = {n: by for n, by in sorted(rounds.items()) if len(by) == len(self.clients)}
        for number in [n for n in tested if n > after]:
            each = ", ".join(
                f"{name} {value:.2f}" for name, value in sorted(tested[number].items())
            )
            print(
                f"round {number}: accuracy {mean(tested[number].values()):.2f} ({each})", flush=True
            )
        return max(tested, default=0)

    def save(self) -> Path:
        """Write the model as it is now beside the one that was uploaded."""
        path = self.file.with_stem(f"{self.file.stem}-trained")
        path.write_bytes(self.ask("GET", self.model).content)
        return path


def listed(names: set[str]) -> str:
    """Return the names as they stand in a sentence."""
    return ", ".join(sorted(names))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server")
    parser.add_argument("model", type=Path, help="a file from model.py")
    parser.add_argument("--clients", nargs="+", required=True, help="their names")
    parser.add_argument("--name", default="ada", help="the actor's own; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--patience", type=float, default=120, help="seconds; default: %(default)s")
    options = parser.parse_args()
    try:
        actor = Actor(Server(options.server), options.name, options.model, options.patience)
        actor.find(set(options.clients))
        actor.start(options.rounds)
        actor.follow()
        print(f"The trained model is in {actor.save()}.")
    except OSError as error:  # requests' are among them
        sys.exit(f"It can't go on: {error}")
    except KeyboardInterrupt:
        sys.exit("Interrupted; the training goes on.")
