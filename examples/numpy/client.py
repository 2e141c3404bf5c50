"""A federated-learning client of NumPy alone: softmax regression on 8 x 8 digits.

    python client.py http://127.0.0.1:8000 slices/client-1.safetensors --name carol

The model is two tensors, `weight` (10 x 64) and `bias` (10): no code comes with it. The client
asks for its work and ends with the training. Started again it is the same user, by its token.
"""

import argparse
import secrets
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import requests
from requests.adapters import HTTPAdapter, Retry
from safetensors.numpy import load, load_file, save

Weights = dict[str, np.ndarray]


def train(weights: Weights, x: np.ndarray, y: np.ndarray, epochs: int = 5) -> Weights:
    """Return the weights after some epochs of stochastic gradient descent."""
    weight, bias = weights["weight"].copy(), weights["bias"].copy()
    for _ in range(epochs):
        for batch in np.array_split(np.random.permutation(len(y)), len(y) // 32 + 1):
            chances = softmax(x[batch] @ weight.T + bias)
            wrong = (chances - np.eye(10, dtype=np.float32)[y[batch]]) / len(batch)
            weight -= 0.5 * wrong.T @ x[batch]
            bias -= 0.5 * wrong.sum(axis=0)
    return {"weight": weight, "bias": bias}


def evaluate(weights: Weights, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Return accuracy and mean loss."""
    chances = softmax(x @ weights["weight"].T + weights["bias"])
    loss = -np.log(chances[np.arange(len(y)), y] + 1e-9).mean()
    return {"accuracy": float((chances.argmax(axis=1) == y).mean()), "loss": float(loss)}


def softmax(scores: np.ndarray) -> np.ndarray:
    """Make probabilities of each row."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


class Client:
    """One participant: its data, and what it says to the server."""

    def __init__(self, server: str, data: Path, name: str, keep: Path | None) -> None:
        self.name, self.api, self.keep = name, f"{server.rstrip('/')}/api", keep
        samples, fifth = load_file(data), slice(0, None, 5)  # every fifth is held out for testing
        self.test = [samples[key][fifth] for key in "xy"]
        self.own = [np.delete(samples[key], fifth, axis=0) for key in "xy"]
        self.session = requests.Session()  # which tries for half a minute
        retry = Retry(6, backoff_factor=0.5, status_forcelist=range(500, 600), allowed_methods=None)
        self.session.mount(server, HTTPAdapter(max_retries=retry))
        self.sign_in(data.parent / f"{quote(f'{name}@{self.api}', safe='@')}.token")

    def sign_in(self, file: Path) -> None:
        """Go on as who registered before, or register; the token is kept for oneself alone."""
        file.touch(mode=0o600)  # before: who can't keep the token shouldn't take the name
        if not self.is_known(file.read_text()):
            user = {"username": self.name, "password": secrets.token_urlsafe(), "client": True}
            file.write_text(self.ask("POST", "/users/", json=user).json()["token"])
        self.session.headers["Authorization"] = f"Token {file.read_text()}"

    def is_known(self, token: str) -> bool:
        """Tell whether the server knows this token, or says that it is out of order."""
        headers = {"Authorization": f"Token {token}"}
        answer = self.session.get(f"{self.api}/users/myself/", headers=headers, timeout=60)
        return answer.status_code != 401

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """Raise requests.HTTPError with the server's reason when it refuses."""
        answer = self.session.request(method, self.api + path, timeout=60, **options)
        if not answer.ok:
            raise requests.HTTPError(f"{method} {path}: {answer.text}")
        return answer

    def take_part(self) -> None:
        """Do what is asked, oldest first, until the training is over."""
        while True:
            answer = self.ask("GET", "/notifications/", params={"wait": 25})
            for item in answer.json():
                print(item["notification_type"], item["body"].get("round", ""), flush=True)
                for step in (self.work, self.tick_off):
                    try:
                        step(item)
                    except requests.HTTPError as error:  # that round is over, say: await the next
                        print("refused:", error, flush=True)
                if item["notification_type"] in {"TRAINING_FINISHED", "CLIENT_REMOVED"}:
                    return
            time.sleep(int(answer.headers.get("Retry-After", 0)))  # a busy server doesn't wait

    def work(self, item: dict[str, Any]) -> None:
        """Answer one notification; most kinds only tell how the training goes."""
        kind, path = item["notification_type"], f"/models/{item['body']['global_model_uuid']}/"
        if kind == "UPDATE_ROUND_START":
            number = item["body"]["round"]
            update = save(train(load(self.ask("GET", path).content), *self.own))
            if self.keep:
                (self.keep / f"{self.name}-{number}.safetensors").write_bytes(update)
            form = {"round": number, "sample_size": len(self.own[1])}
            self.ask("POST", path, data=form, files={"model_file": update})
        elif kind == "MODEL_TEST_ROUND":
            metrics = evaluate(load(self.ask("GET", path).content), *self.test)
            form = {"metric_names": list(metrics), "metric_values": list(metrics.values())}
            self.ask("POST", f"{path}metrics/", data=form)

    def tick_off(self, item: dict[str, Any]) -> None:
        """Have it forgotten, now that its work is done: else it comes again."""
        self.ask("POST", f"/notifications/{item['id']}/ack/")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server")
    parser.add_argument("data", type=Path, help="a file from prepare.py")
    parser.add_argument("--name", required=True, help="register, or go on as who did")
    parser.add_argument("--keep", type=Path, help="a folder for copies of what is sent")
    try:
        Client(**vars(parser.parse_args())).take_part()
    except OSError as error:  # requests' are among them
        sys.exit(f"It can't go on: {error}")
