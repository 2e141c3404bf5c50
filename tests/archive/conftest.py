import warnings

import torch

# Said once per process, by torch, when the first half-precision complex tensor is made.
with warnings.catch_warnings(action="ignore"):
    torch.zeros(1, dtype=torch.complex32)
