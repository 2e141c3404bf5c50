"""A client as those in the field are: by hand, posted to, TorchScript in, `torch.save` out.

    python stock_client.py http://127.0.0.1:8000 slices/client-1.npz alice

Ends with the training.
"""

import io
import json
import os
import queue
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import requests
import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils import parameters_to_vector

SERVER, DATA, NAME = sys.argv[1:]
with np.load(DATA) as file:
    x, y = torch.from_numpy(file["x"]), torch.from_numpy(file["y"])
messages: queue.Queue = queue.Queue()
session = requests.Session()


class Listener(BaseHTTPRequestHandler):
    def do_POST(self):
        messages.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def ask(method, path, **options):
    answer = session.request(method, f"{SERVER}/api{path}", timeout=60, **options)
    assert answer.ok, answer.text
    return answer


def train(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for batch in torch.randperm(len(y)).split(32):
        optimizer.zero_grad()
        cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
    return parameters_to_vector(model.parameters()).detach()


def saved(value):
    torch.save(value, file := io.BytesIO())
    return file.getvalue()


def work(kind, path, number):
    model = torch.jit.load(io.BytesIO(ask("GET", path).content))
    form = {"round": number, "sample_size": len(y)}
    if kind == "MODEL_TEST_ROUND":
        accuracy = (model(x).argmax(dim=1) == y).float().mean().item()
        ask("POST", f"{path}metrics/", data={"metric_names": "accuracy", "metric_values": accuracy})
        return
    weights = torch.stack([train(model) for _ in range(5)])
    if kind == "UPDATE_ROUND_START":
        ask("POST", path, data=form, files={"model_file": saved(model.state_dict())})
    else:
        moments = {"first": weights.mean(dim=0), "second": weights.square().mean(dim=0)}
        files = {f"{name}_moment_file": saved(moment) for name, moment in moments.items()}
        ask("POST", f"{path}swag/", data=form, files=files)


torch.set_num_threads(1)
listener = HTTPServer(("127.0.0.1", 0), Listener)
threading.Thread(target=listener.serve_forever, daemon=True).start()
endpoint = f"http://127.0.0.1:{listener.server_port}/"
user = {"username": NAME, "password": "secret", "client": True, "message_endpoint": endpoint}
session.headers["Authorization"] = f"Token {ask('POST', '/users/', json=user).json()['token']}"
for message in iter(messages.get, None):
    kind, body = message["notification_type"], message["body"]
    os.write(1, f"{kind} {body.get('round', '')}\n".encode())
    if "ROUND" in kind:
        work(kind, f"/models/{body['global_model_uuid']}/", body["round"])
    if kind == "TRAINING_FINISHED":
        break
