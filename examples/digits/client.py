"""A federated-learning client: what it says to the server, and when.

    python client.py http://127.0.0.1:8000 slices/client-1.npz --name alice

Round after round it is asked to train the server's model on data that never leave it; with
--pull it asks for work and needs no port. A repeat is harmless: the last answer counts. Copy
it with `learning.py`, where your own data and training go in. With --secret, what is posted
to it must be signed (https://www.standardwebhooks.com).
"""

import argparse
import base64
import hmac
import io
import json
import queue
import secrets
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests
import torch
from learning import collect_moments, evaluate, load, train
from requests.adapters import HTTPAdapter, Retry
from torch import nn


class Client:
    """One participant: its line to the server, its data, what it does when it is asked."""

    def __init__(self, url: str, data: str, epochs: int, mu: float) -> None:
        self.url, self.epochs, self.mu = f"{url.rstrip('/')}/api", epochs, mu
        self.session = requests.Session()  # retries broken connections and 5xx for half a minute
        retry = Retry(6, backoff_factor=0.5, status_forcelist=range(500, 600), allowed_methods=None)
        self.session.mount(url, HTTPAdapter(max_retries=retry))
        self.x, self.y, self.test_x, self.test_y = load(data)

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """Raise requests.HTTPError with the server's reason when it refuses."""
        answer = self.session.request(method, self.url + path, timeout=60, **options)
        if not answer.ok:
            raise requests.HTTPError(answer.text, response=answer)
        return answer

    def take_part(self, notifications: Iterator[dict[str, Any]]) -> None:
        """Do what is asked until the training is over; most kinds only tell how it goes."""
        for item in notifications:
            print(item, flush=True)
            kind, path = item["notification_type"], f"/models/{item['body']['global_model_uuid']}/"
            try:
                if kind == "UPDATE_ROUND_START":
                    self.update(path, item["body"]["round"])
                elif kind == "SWAG_ROUND_START":  # only where uncertainty_method is SWAG
                    self.swag(path, item["body"]["round"])
                elif kind == "MODEL_TEST_ROUND":
                    self.test(path)
            except requests.HTTPError as error:  # that round is over, say: wait for the next
                print("refused:", error, flush=True)
            if "id" in item:  # pulled: tick it off, now that its work is done
                self.ask("POST", f"/notifications/{item['id']}/ack/")
            if kind in {"TRAINING_FINISHED", "CLIENT_REMOVED"}:
                return

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
        self.ask("POST", path, data=form, files={k: saved(v) for k, v in learned.items()})

    def test(self, path: str) -> None:
        """Report how good the model is on the samples held out."""
        metrics = evaluate(self.download(path), self.test_x, self.test_y)
        form = {"metric_names": list(metrics), "metric_values": list(metrics.values())}
        self.ask("POST", f"{path}metrics/", data=form)

    def download(self, path: str) -> nn.Module:
        """Load a TorchScript archive: unlike a pickled module it runs no Python of its author's."""
        return torch.jit.load(io.BytesIO(self.ask("GET", path).content), "cpu")


def saved(value: Any) -> bytes:
    """Return the content of a file that `torch.load` reads."""
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def pull(client: Client) -> Iterator[dict[str, Any]]:
    """Ask for notifications, oldest first."""
    while True:
        answer = client.ask("GET", "/notifications/", params={"wait": 25})
        yield from answer.json()
        time.sleep(int(answer.headers.get("Retry-After", 0)))  # a busy server doesn't wait


def is_genuine(secret: str, headers: Any, body: bytes) -> bool:
    """Tell whether a body was signed with the secret, in the last five minutes."""
    sent = [headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")]
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{sent[0]}.{sent[1]}.".encode() + body, "sha256")
    expected = f"v1,{base64.b64encode(digest).decode()}".encode()
    if not any(hmac.compare_digest(expected, one.encode()) for one in sent[2].split()):
        return False
    return abs(time.time() - int(sent[1])) < 300  # signed, so it is a number


def listen(secret: str = "") -> tuple[str, Iterator[dict[str, Any]]]:
    """Take notifications in a thread, answered at once; return the address and what comes."""
    inbox: queue.Queue[dict[str, Any]] = queue.Queue()

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            genuine = not secret or is_genuine(secret, self.headers, body)
            if genuine:
                inbox.put(json.loads(body))
            self.send_response(204 if genuine else 401)
            self.end_headers()

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{listener.server_port}/", iter(inbox.get, None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server")
    parser.add_argument("data", help="a file from data.py")
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--name", help="register a user of this name")
    who.add_argument("--token", help="be this token's user, and pull")
    parser.add_argument("--pull", action="store_true", help="ask for notifications")
    parser.add_argument("--epochs", type=int, default=5, help="per round")
    parser.add_argument("--proximal-mu", type=float, default=0.0, help="above 0: FedProx")
    parser.add_argument("--secret", default="", help="24 to 64 bytes in base64, to sign with")
    options = parser.parse_args()
    client = Client(options.server, options.data, options.epochs, options.proximal_mu)
    pulls = options.pull or options.token
    endpoint, notifications = ("", pull(client)) if pulls else listen(options.secret)
    if options.name:
        form = {"username": options.name, "password": secrets.token_urlsafe(), "client": True}
        form |= {"message_endpoint": endpoint, "notification_secret": options.secret}
        user = client.ask("POST", "/users/", json=form).json()
        print("registered", options.name, user["id"], flush=True)
        options.token = user["token"]
    client.session.headers["Authorization"] = f"Token {options.token}"
    client.take_part(notifications)
