"""A federated-learning client: what it says to the server, and when.

    python client.py http://127.0.0.1:8000 slices/client-1.npz --name alice

Round after round it is asked to train the server's model on data that never leave it. It asks
for work and needs no port; with --port it is posted to. Killed and started again, it is the
same user, by the token that it keeps beside its data, and goes on with what it had not done. A
repeat is harmless: the last answer counts. Copy it with `server.py`, `listener.py` and
`learning.py`, where your own data and training go in. With --secret, what is posted to it must
be signed (https://www.standardwebhooks.com).
"""

import argparse
import io
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import torch
from learning import collect_moments, evaluate, load, train
from listener import listen
from server import Server
from torch import nn

Notifications = Iterator[dict[str, Any]]


class Client:
    """One participant: its data, and what it does when it is asked."""

    def __init__(self, server: Server, data: str, epochs: int, mu: float) -> None:
        self.server, self.epochs, self.mu = server, epochs, mu
        self.x, self.y, self.test_x, self.test_y = load(data)

    def take_part(self, notifications: Notifications, *, once: bool = False) -> None:
        """Do what is asked, in one training after another; with `once` until the first is over."""
        for item in notifications:
            print(f"{item['notification_type']} {item['body'].get('round', '')}", flush=True)
            for step in (self.work, self.tick_off):
                try:
                    step(item)
                except requests.HTTPError as error:  # that round is over, say: wait for the next
                    print("refused:", error, flush=True)
            if once and item["notification_type"] in {"TRAINING_FINISHED", "CLIENT_REMOVED"}:
                return

    def work(self, item: dict[str, Any]) -> None:
        """Answer one notification; most kinds only tell how the training goes."""
        kind, path = item["notification_type"], f"/models/{item['body']['global_model_uuid']}/"
        if kind == "UPDATE_ROUND_START":
            self.update(path, item["body"]["round"])
        elif kind == "SWAG_ROUND_START":  # only where uncertainty_method is SWAG
            self.swag(path, item["body"]["round"])
        elif kind == "MODEL_TEST_ROUND":
            self.test(path)

    def tick_off(self, item: dict[str, Any]) -> None:
        """Have it forgotten, now that its work is done: else it comes again."""
        if "id" in item:  # pulled
            self.server.ask("POST", f"/notifications/{item['id']}/ack/")
        if "file" in item:  # posted
            item["file"].unlink()

    def update(self, path: str, round_number: int) -> None:
        """Train the model on the own data and send its weights back."""
        model = self.download(path)
        train(model, self.x, self.y, self.epochs, self.mu)
        self.send(path, round_number, model_file=model.state_dict())

    def swag(self, path: str, round_number: int) -> None:
        """Train the merged model on; send the moments of the weights that it went through."""
        first, second = collect_moments(self.download(path), self.x, self.y, self.epochs)
        self.send(f"{path}swag/", round_number, first_moment_file=first, second_moment_file=second)

    def send(self, path: str, round_number: int, **learned: Any) -> None:
        """Post what was learned, each as a file of torch's."""
        form = {"round": round_number, "sample_size": len(self.y)}
        self.server.ask("POST", path, data=form, files={k: saved(v) for k, v in learned.items()})

    def test(self, path: str) -> None:
        """Report how good the model is on the samples held out."""
        metrics = evaluate(self.download(path), self.test_x, self.test_y)
        form = {"metric_names": list(metrics), "metric_values": list(metrics.values())}
        self.server.ask("POST", f"{path}metrics/", data=form)

    def download(self, path: str) -> nn.Module:
        """Load a TorchScript archive: unlike a pickled module it runs no Python of its author's."""
        return torch.jit.load(io.BytesIO(self.server.ask("GET", path).content), "cpu")


def saved(value: Any) -> bytes:
    """Return the content of a file that `torch.load` reads."""
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def pull(server: Server) -> Notifications:
    """Ask for notifications, oldest first."""
    while True:
        answer = server.ask("GET", "/notifications/", params={"wait": 25})
        yield from answer.json()
        time.sleep(int(answer.headers.get("Retry-After", 0)))  # a busy server doesn't wait


def join(server: Server, options: argparse.Namespace) -> Notifications:
    """Go on as the user who registered before, or register; return what it is asked."""
    if options.token:
        server.be(options.token) or sys.exit("The server knows no such token.")
        return pull(server)
    folder, port = Path(options.data).parent, options.port
    if user := server.resume(options.name, folder):
        port = urlsplit(user["message_endpoint"]).port  # the one that the server posts to, if any
    endpoint, notifications = "", pull(server)
    if port is not None:
        inbox = server.file(options.name, folder, ".inbox")
        endpoint, notifications = listen(port, inbox, options.secret)
    if not user:
        details = {"message_endpoint": endpoint, "notification_secret": options.secret}
        user = server.register(options.name, folder, client=True, **details)
    print("taking part as", options.name, user["id"], flush=True)
    return notifications


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server")
    parser.add_argument("data", help="a file from data.py")
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--name", help="register under this name, or go on as who did here")
    who.add_argument("--token", help="be this token's user, and pull")
    parser.add_argument("--port", type=int, help="be posted to there, 0 is any that is free")
    parser.add_argument("--secret", default="", help="24 to 64 bytes in base64, to sign with")
    parser.add_argument("--epochs", type=int, default=5, help="per round")
    parser.add_argument("--proximal-mu", type=float, default=0.0, help="above 0: FedProx")
    parser.add_argument("--threads", type=int, default=1, help="of torch, which takes all cores")
    parser.add_argument("--once", action="store_true", help="end with the first training")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    client = Client(Server(options.server), options.data, options.epochs, options.proximal_mu)
    try:
        with suppress(KeyboardInterrupt):
            client.take_part(join(client.server, options), once=options.once)
    except OSError as error:  # requests' are among them
        sys.exit(f"It can't go on: {error}")
