"""A client with scikit-learn: a linear classifier of 8 x 8 digits.

    python client.py slices/client-1.safetensors --name erin

What travels is `coef_` as `weight` (10 x 64) and `intercept_` as `bias` (10), and no code.
"""

import argparse

import numpy as np
from safetensors.numpy import load_file
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss

from fl_client import Client

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("data", help="a file from prepare.py")
parser.add_argument("--name", required=True, help="register, or go on as who did here")
options = parser.parse_args()

samples, fifth = load_file(options.data), slice(0, None, 5)  # every fifth is held out for testing
test_x, test_y = (samples[key][fifth] for key in "xy")
x, y = (np.delete(samples[key], fifth, axis=0) for key in "xy")
client = Client(name=options.name, register=True)


def classifier(weights):
    model = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.05)
    model.classes_ = np.arange(10)  # of which a client may not have all
    model.coef_, model.intercept_ = weights["weight"], weights["bias"]
    return model


@client.train
def train(weights, job):
    model = classifier(weights)
    for _ in range(5):
        model.partial_fit(x, y)
    return {"weight": model.coef_, "bias": model.intercept_}, len(y)


@client.test
def test(weights, job):
    model = classifier(weights)
    loss = log_loss(test_y, model.predict_proba(test_x), labels=model.classes_)
    return {"accuracy": model.score(test_x, test_y), "loss": loss}


client.run(once=True)
