"""Write small model files with whatever torch is installed: `python make.py`.

Run once with each old version. The files lie in this folder as `<version>-<kind>.pt`, with the
tensors that they must hold in `<version>.json`. Uses nothing newer than torch 1.13.
"""

import json
from pathlib import Path

import torch
from torch import nn


def main() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 3))
    module[3].weight = module[0].weight
    module[1].running_var = torch.arange(6.0)[1::2]
    save(module.eval(), str(Path(__file__).with_name(torch.__version__.split("+")[0])))


def save(module: nn.Module, stem: str) -> None:
    torch.save(module, f"{stem}-module.pt")
    torch.save(module.state_dict(), f"{stem}-state_dict.pt")
    torch.jit.save(torch.jit.script(module), f"{stem}-torchscript.pt")
    torch.jit.save(torch.jit.trace(module, torch.rand(5, 3)), f"{stem}-trace.pt")
    state = {name: tensor.tolist() for name, tensor in module.state_dict().items()}
    Path(f"{stem}.json").write_text(json.dumps(state) + "\n")


if __name__ == "__main__":
    main()
