"""The demo's result in two tables."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from fl_server.demo.progress import Progress, Shard, overall
from fl_server.demo.view import bars


@dataclass(frozen=True)
class Result:
    """What came out; `alone` and `together` are accuracies on the common test set."""

    shards: list[Shard]
    progress: Progress
    alone: list[float]
    together: float

    @property
    def better(self) -> bool:
        """Return whether the global model beats every client alone."""
        return self.together > max(self.alone)


def print_result(console: Console, result: Result) -> None:
    """Print the rounds and the comparison."""
    console.print("", _rounds(result), "", _comparison(result), "", sep="\n")


def _rounds(result: Result) -> Table:
    table = Table(title="The global model on what the clients hold out", title_justify="left")
    for heading in ("round", "all clients", "worst client", "best client"):
        table.add_column(heading, justify="right")
    means = overall(result.progress, result.shards)
    for number, (mean, report) in enumerate(zip(means, result.progress.tested, strict=True), 1):
        lowest, highest = min(report.values()), max(report.values())
        table.add_row(str(number), f"{mean:.3f}", f"{lowest:.3f}", f"{highest:.3f}")
    return table


def _comparison(result: Result) -> Table:
    table = Table(title="On digits that nobody trained on", title_justify="left")
    table.add_column("trained by")
    table.add_column("digits held\n0123456789")
    table.add_column("samples", justify="right")
    table.add_column("accuracy", justify="right")
    top = max(max(shard.counts) for shard in result.shards)
    for shard, accuracy in zip(result.shards, result.alone, strict=True):
        holds = f"[cyan]{bars(shard.counts, top)}"
        table.add_row(f"{shard.name} alone", holds, str(shard.samples), f"{accuracy:.3f}")
    table.add_section()
    samples = str(sum(shard.samples for shard in result.shards))
    table.add_row("[bold]all together", "", samples, f"[bold]{result.together:.3f}")
    return table
