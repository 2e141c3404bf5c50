"""One of three clients that train a CNN of their own on MNIST; only weights go out."""

import argparse
import gzip
from pathlib import Path

import torch
from torch import nn

from fl_client import Client

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("name", help="register under it, or go on as who did here")
parser.add_argument("--data-dir", type=Path, default="mnist", help="the four gzipped IDX files")
parser.add_argument("--part", type=int, default=0, help="0, 1 or 2: which third to train on")
parser.add_argument("--save", help="write untrained weights there, for the upload, and end")
options = parser.parse_args()


def net():
    first, second = nn.Conv2d(1, 8, 3, stride=2), nn.Conv2d(8, 16, 3, stride=2)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), nn.Linear(576, 10))


def read(name, offset):
    content = gzip.decompress((options.data_dir / f"{name}-ubyte.gz").read_bytes())
    return torch.frombuffer(bytearray(content[offset:]), dtype=torch.uint8)


if options.save:
    parser.exit(torch.save(net().state_dict(), options.save))
x, test_x = (read(f"{p}-images-idx3", 16).view(-1, 1, 28, 28) / 255 for p in ("train", "t10k"))
y, test_y = (read(f"{p}-labels-idx1", 8).long() for p in ("train", "t10k"))
x, y = x[options.part :: 3], y[options.part :: 3]
client = Client(name=options.name, register=True, model=net)


@client.train
def train(model, job):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for batch in torch.randperm(len(y)).split(32):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
    return model, len(y)


@client.test
@torch.no_grad()
def test(model, job):
    scores = model(test_x)
    return {"accuracy": (scores.argmax(1) == test_y).float().mean()}


client.run()
