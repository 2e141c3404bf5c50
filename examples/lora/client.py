"""A client that adapts a transformer by LoRA: only its adapters go to and fro."""

import argparse
import random

import torch
from torch import nn
from torch.nn import functional

from fl_client import Client

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("name", help="register under it, or go on as who did here")
parser.add_argument("--part", type=int, default=0, help="0, 1 or 2: which words its reviews use")
parser.add_argument("--save", help="write the untrained model there, for the upload, and end")
options = parser.parse_args()

GOOD, BAD = ("good", "great", "lovely"), ("bad", "awful", "boring")
VERY, NOT, OTHER = ("really", "very"), ("not", "hardly"), ("we", "thought", "the", "film", "was")
WORDS = [*GOOD, *BAD, *VERY, *NOT, *OTHER]


class Lora(nn.Module):
    """A layer that stays as it is, and a change of it that is learned: W x + B A x."""

    def __init__(self, inputs, outputs, rank=4):
        super().__init__()
        self.layer = nn.Linear(inputs, outputs).requires_grad_(False)
        self.lora_A = nn.Parameter(torch.randn(rank, inputs) / inputs**0.5)
        self.lora_B = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, x):
        return self.layer(x) + x @ self.lora_A.T @ self.lora_B.T


class Transformer(nn.Module):
    """One block with four heads: of seven words to whether they are bad or good."""

    def __init__(self, width=64):
        super().__init__()
        self.words, self.places = nn.Embedding(len(WORDS), width), nn.Embedding(7, width)
        self.requires_grad_(False)
        self.attend, self.mix = Lora(width, 3 * width), Lora(width, width)
        self.widen, self.narrow = Lora(width, 4 * width), Lora(4 * width, width)
        self.answer = Lora(width, 2)

    def forward(self, words):
        x = self.words(words) + self.places.weight
        q, k, v = self.attend(x).unflatten(-1, (3, 4, -1)).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.mix(seen)
        return self.answer((x + self.narrow(functional.gelu(self.widen(x)))).mean(dim=1))


def reviews(count, parts):
    """Make some up; `not awful` is good."""
    x, y = [], []
    for _ in range(count):
        good, negated, part = random.random() < 0.5, random.random() < 0.5, random.choice(parts)
        judged = random.choice(NOT if negated else VERY), (GOOD if good else BAD)[part]
        x.append([WORDS.index(word) for word in (*OTHER, *judged)])
        y.append(int(good != negated))
    return torch.tensor(x), torch.tensor(y)


if options.save:
    parser.exit(torch.save(Transformer().state_dict(), options.save))
(x, y), (test_x, test_y) = reviews(1200, [options.part]), reviews(300, range(3))
client = Client(name=options.name, register=True, model=Transformer)


@client.train
def train(model, job):
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    for batch in torch.randperm(len(y)).split(32):
        optimizer.zero_grad()
        functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
    return model, len(y)


@client.test
@torch.no_grad()
def test(model, job):
    return {"accuracy": (model(test_x).argmax(1) == test_y).float().mean()}


client.run(once=True)
