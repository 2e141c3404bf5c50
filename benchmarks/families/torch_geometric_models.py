"""Convolutions on graphs, as networks of them take them."""

from collections.abc import Iterator

import torch
from torch_geometric import nn as graphs

from benchmarks.families.trying import Family

ONE = (
    "AGNNConv ARMAConv ChebConv ClusterGCNConv EdgeConv EGConv FeaStConv FiLMConv GATConv "
    "GATv2Conv GCNConv GENConv GeneralConv GatedGraphConv GINConv GraphConv LEConv LGConv MFConv "
    "MixHopConv PANConv ResGatedGraphConv SAGEConv SGConv SSGConv SimpleConv SuperGATConv TAGConv "
    "TransformerConv"
)
ARGUMENTS: dict[str, tuple[object, ...]] = {
    "AGNNConv": (),
    "EGConv": (8, 8),
    "GatedGraphConv": (8, 2),
    "LGConv": (),
    "PANConv": (8, 8, 2),
    "SSGConv": (8, 8, 0.5),
    "SimpleConv": (),
    "ChebConv": (8, 8, 2),
    "GINConv": (torch.nn.Linear(8, 8),),
    "EdgeConv": (torch.nn.Linear(16, 8),),
}
WHOLE = "GCN GraphSAGE GIN GAT PNA EdgeCNN"


def edges() -> torch.Tensor:
    """A ring of six nodes."""
    nodes = torch.arange(6)
    return torch.stack([nodes, (nodes + 1) % 6])


def inputs() -> tuple[torch.Tensor, ...]:
    """Features of the nodes, and the edges between them."""
    return torch.rand(6, 8), edges()


def families() -> Iterator[Family]:
    """Each convolution with eight features in and out, and networks of two layers."""
    for name in ONE.split():
        given = ARGUMENTS.get(name, (8, 8))
        yield Family(name, lambda n=name, g=given: getattr(graphs, n)(*g), inputs)
    for name in WHOLE.split():
        more = {"aggregators": ["mean"], "scalers": ["identity"]} if name == "PNA" else {}
        more |= {"deg": torch.tensor([0, 6])} if name == "PNA" else {}
        yield Family(name, lambda n=name, m=more: getattr(graphs, n)(8, 8, 2, 3, **m), inputs)
