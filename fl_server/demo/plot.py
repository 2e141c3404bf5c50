"""The demo's result in one picture: who holds what, the rounds, the comparison."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fl_server.demo.progress import overall
from fl_server.demo.report import Result

GREY, BLUE = "#b8c0c8", "#0b6fb8"


def plot(result: Result, path: Path) -> None:
    """Write the picture as PNG."""
    with mpl.rc_context(
        {
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "axes.titlesize": 11,
            "legend.frameon": False,
        }
    ):
        figure = Figure(figsize=(13, 4), layout="constrained")
        holdings, rounds, comparison = figure.subplots(1, 3)
        _plot_holdings(holdings, result)
        _plot_rounds(rounds, result)
        _plot_comparison(comparison, result)
        figure.savefig(path, format="png", dpi=110)


def _plot_holdings(axes: Axes, result: Result) -> None:
    names = [shard.name for shard in result.shards]
    left = [0] * len(names)
    for digit, color in enumerate(mpl.color_sequences["tab10"]):
        widths = [shard.counts[digit] for shard in result.shards]
        axes.barh(names, widths, left=left, color=color, label=str(digit))
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set_title("What each client holds")
    axes.set_xlabel("samples of each digit")
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(-0.02, -0.15),
        ncols=10,
        handlelength=0.7,
        handletextpad=0.3,
        columnspacing=0.9,
    )


def _plot_rounds(axes: Axes, result: Result) -> None:
    tested = result.progress.tested
    numbers = range(1, len(tested) + 1)
    for shard in result.shards:
        axes.plot(numbers, [report[shard.name] for report in tested], color=GREY)
    axes.plot([], [], color=GREY, label="each client")
    means = overall(result.progress, result.shards)
    axes.plot(numbers, means, color=BLUE, marker="o", linewidth=2.5, label="all clients")
    axes.set_title("The global model, round by round")
    axes.set_xlabel("round")
    axes.set_ylabel("accuracy on the clients' held-out digits")
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower right")


def _plot_comparison(axes: Axes, result: Result) -> None:
    names = [f"{shard.name} alone" for shard in result.shards] + ["all together"]
    accuracies = [*result.alone, result.together]
    bars = axes.barh(names, accuracies, color=[GREY] * len(result.alone) + [BLUE])
    axes.bar_label(bars, fmt="%.3f", padding=3)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.1)
    axes.set_title("On digits that nobody trained on")
    axes.set_xlabel("accuracy")
