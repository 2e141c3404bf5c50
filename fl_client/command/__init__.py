"""The command `fl`: what an actor does, from a terminal. One file for each group of commands."""

from fl_client.command import account, doctor, metrics, models, trainings, watching
from fl_client.command.session import fl

__all__ = ["account", "doctor", "main", "metrics", "models", "trainings", "watching"]


def main() -> None:
    """Run the command line."""
    fl(prog_name="fl")
