"""The demo while it runs: a live picture in a terminal, a line for each round elsewhere."""

import time
from collections.abc import Sequence
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table

from fl_server.demo.progress import Doing, Progress, Shard, overall

BARS = "▁▂▃▄▅▆▇█"
HISTORY = 8
"""How many of the last rounds are drawn."""
BUSY = {Doing.TRAINS, Doing.TESTS}


def bars(values: Sequence[float], top: float) -> str:
    """Return one character for each value, blank for 0 and full for `top`."""
    levels = [min(int(value / top * len(BARS)), len(BARS) - 1) for value in values]
    return "".join(
        BARS[level] if value else " " for level, value in zip(levels, values, strict=True)
    )


class PlainView:
    """Says what has happened, a line for each round."""

    def __init__(self, console: Console, shards: list[Shard], rounds: int, method: str) -> None:
        self.console, self.shards, self.rounds = console, shards, rounds
        self.said = 0
        console.print(f"{len(shards)} clients learn to read digits, {method}, {rounds} rounds")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave what was said."""

    def show(self, progress: Progress) -> None:
        """Say what is new."""
        for accuracy in overall(progress, self.shards)[self.said :]:
            self.said += 1
            self.console.print(f"round {self.said} of {self.rounds}: accuracy {accuracy:.3f}")


class LiveView:
    """Shows what the clients do and how good the model is; erased at the end."""

    def __init__(self, console: Console, shards: list[Shard], rounds: int, method: str) -> None:
        self.shards, self.rounds = shards, rounds
        self.title = f"{len(shards)} clients learn to read digits · {method}"
        self.started = time.monotonic()
        self.spinner = Spinner("dots", style="cyan")
        # Without a thread of its own: `show` is called often enough.
        self.live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def show(self, progress: Progress) -> None:
        """Draw the picture anew."""
        picture = Group(self._head(progress), "", self._table(progress))
        width = min(78, self.live.console.width)
        panel = Panel(picture, title=self.title, border_style="cyan", width=width, padding=(1, 2))
        self.live.update(panel, refresh=True)

    def _head(self, progress: Progress) -> RenderableType:
        done = len(progress.tested)
        head = Table.grid(padding=(0, 2))
        head.add_row(
            f"[bold]round {min(done + 1, self.rounds)} of {self.rounds}",
            ProgressBar(total=self.rounds, completed=done, width=34, complete_style="cyan"),
            "merging" if progress.merging else _local_round(progress),
            f"[dim]{time.monotonic() - self.started:.0f} s",
        )
        return head

    def _table(self, progress: Progress) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
        table.add_column("client")
        table.add_column("digits held\n0123456789")
        table.add_column("samples", justify="right")
        table.add_column("accuracy", min_width=HISTORY + 5)
        table.add_column("", min_width=14)
        top = max(max(shard.counts) for shard in self.shards)
        for shard in self.shards:
            table.add_row(
                shard.name,
                f"[cyan]{bars(shard.counts, top)}",
                str(shard.samples),
                _history(progress.history(shard.name)),
                self._status(progress.doing(shard.name)),
            )
        samples = str(sum(shard.samples for shard in self.shards))
        table.add_row("[bold]all", "", samples, _history(overall(progress, self.shards)))
        return table

    def _status(self, doing: Doing) -> RenderableType:
        if doing not in BUSY:
            return f"[green]✓ {doing}" if doing != Doing.READY else f"[dim]· {doing}"
        self.spinner.update(text=doing)
        return self.spinner


def _local_round(progress: Progress) -> str:
    if progress.period == 1 or progress.testing:
        return ""
    return f"local round {progress.round % progress.period + 1} of {progress.period}"


def _history(accuracies: list[float]) -> str:
    recent = accuracies[-HISTORY:]
    return f"{bars(recent, 1.0)} {recent[-1]:.2f}" if recent else ""
