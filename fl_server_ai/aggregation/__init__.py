"""Merging a round's updates into the next global model.

    strategies/   how updates become a model, one file each; read without torch
    engine        the walk through the updates, block by block, in bounded memory
    block         what a strategy sees of a block, and what it may do with it
    means         weighted means
    trajectory    SWAG's moments of a model's own versions
    merging       the merge task's body

All but `strategies` import torch: for workers only.
"""
