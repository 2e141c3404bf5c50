"""Monte Carlo dropout: several passes of one model, each with other units left out."""

from torch import nn

from fl_server_ai.uncertainty.walk import Prediction, Run, walk

DROPPING = frozenset(
    {
        "Dropout",
        "Dropout1d",
        "Dropout2d",
        "Dropout3d",
        "AlphaDropout",
        "FeatureAlphaDropout",
        # With `dropout=p`; being in training changes nothing else about these.
        "RNN",
        "LSTM",
        "GRU",
        "MultiheadAttention",
    }
)
"""Classes of `torch.nn` that drop units while in training. Scripts keep the names."""


def mc_dropout(run: Run) -> Prediction:
    """Return the mean of passes with dropout on and all else in eval mode.

    Gal, Ghahramani 2016, "Dropout as a Bayesian Approximation: Representing Model Uncertainty
    in Deep Learning", arXiv 1506.02142, section 4.
    """
    module = run.members[0].fresh()
    switch_on(module)
    return walk(run.output(module) for _ in range(run.samples))


def switch_on(module: nn.Module) -> None:
    """Put the layers that drop units into training, and no other."""
    for layer in module.modules():
        if getattr(layer, "original_name", type(layer).__name__) in DROPPING:
            layer.train()
