"""A training under way: `ModelTrainer` moves it, with its parts beside it.

`phases/` has one file for each thing that participants are asked for; `plan` says in which order
they come, `quorum` whether enough have answered, `sampling` whom a phase asks, `calls` how they are
asked, `lease` whose turn it is to merge, `weighting` how much an answer counts, `checkpoints` which
versions there are, `early_stop` when they are good enough.
"""

from fl_server_ai.trainer.trainer import ModelTrainer

__all__ = ["ModelTrainer"]
