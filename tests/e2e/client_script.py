"""A client as a user writes one: its model is one weight vector, and training adds a number to it.

    python client_script.py NAME ADD LENGTH [OPTIONS OF Client AS JSON]

It notes each call of its functions on its output. While the file `NAME.slow` is there, training
never ends.
"""

import json
import os
import sys
import time

import numpy as np

from fl_client import Client

NAME, ADD, LENGTH, OPTIONS = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
options = {"register": True} | (json.loads(OPTIONS[0]) if OPTIONS else {})
if "listen" in options:
    options["listen"] = tuple(options["listen"])
client = Client(name=NAME, **options)


@client.train
def train(model, job):
    os.write(1, f"training {job.round} {os.getpid()}\n".encode())
    while os.path.exists(f"{NAME}.slow"):
        time.sleep(0.05)
    if hasattr(model, "state_dict"):  # it came with code
        return {name: tensor + ADD for name, tensor in model.state_dict().items()}, 1
    assert model["weight"].shape == (1, LENGTH)
    return {"weight": model["weight"] + np.float32(ADD)}, 1


@client.test
def test(model, job):
    return {"accuracy": 0.5}


if __name__ == "__main__":
    client.run(once=True)
