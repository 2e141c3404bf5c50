import io

import pytest
from rich.console import Console

from fl_server.demo.plot import plot
from fl_server.demo.progress import Doing, Progress, Shard, overall
from fl_server.demo.report import Result, print_result
from fl_server.demo.view import LiveView, PlainView, bars

SHARDS = [
    Shard("client-1", (50, 0, 0, 0, 0, 0, 0, 0, 0, 0)),
    Shard("client-2", (0, 75, 75, 0, 0, 0, 0, 0, 0, 0)),
]
NAMES = ("client-1", "client-2")
BOTH = {1: {"client-1": 0.4, "client-2": 0.8}}


def progress(**fields):
    return Progress(NAMES, **({"state": "O"} | fields))


def printed(use, **options):
    file = io.StringIO()
    use(Console(file=file, width=90, **options))
    return file.getvalue()


@pytest.mark.parametrize(
    ("fields", "doing"),
    [
        ({"state": "I"}, (Doing.READY, Doing.READY)),
        ({"updated": frozenset({"client-2"})}, (Doing.TRAINS, Doing.SENT)),
        ({"merging": True}, (Doing.SENT, Doing.SENT)),
        ({"round": 1}, (Doing.TESTS, Doing.TESTS)),
        ({"round": 1, "accuracies": {1: {"client-1": 0.4}}}, (Doing.TESTED, Doing.TESTS)),
        ({"round": 1, "accuracies": BOTH}, (Doing.TRAINS, Doing.TRAINS)),
        ({"round": 1, "period": 2}, (Doing.TRAINS, Doing.TRAINS)),
        ({"round": 2, "period": 2}, (Doing.TESTS, Doing.TESTS)),
        ({"round": 3, "period": 2, "accuracies": {2: BOTH[1]}}, (Doing.TRAINS, Doing.TRAINS)),
        ({"state": "C", "round": 1, "accuracies": BOTH}, (Doing.DONE, Doing.DONE)),
    ],
)
def test_what_a_client_is_at_follows_from_what_the_server_tells(fields, doing):
    assert tuple(progress(**fields).doing(name) for name in NAMES) == doing


def test_the_overall_accuracy_weighs_clients_by_their_samples():
    assert overall(progress(accuracies=BOTH), SHARDS) == [pytest.approx(0.7)]


def test_a_round_that_not_all_have_tested_has_no_overall_accuracy():
    accuracies = BOTH | {2: {"client-1": 1.0}}
    assert len(overall(progress(accuracies=accuracies), SHARDS)) == 1


def test_bars_show_the_smallest_share_but_not_an_absent_one():
    assert bars([0, 1, 50, 100], 100) == " ▁▅█"


def test_elsewhere_than_in_a_terminal_each_round_is_one_line():
    def use(console):
        with PlainView(console, SHARDS, 2, "FedAvg") as view:
            view.show(progress())
            view.show(progress(accuracies=BOTH))
            view.show(progress(accuracies=BOTH | {2: {"client-1": 1.0, "client-2": 1.0}}))

    assert printed(use).splitlines()[1:] == [
        "round 1 of 2: accuracy 0.700",
        "round 2 of 2: accuracy 1.000",
    ]


def test_a_terminal_sees_round_and_clients():
    def use(console):
        with LiveView(console, SHARDS, 2, "FedAvg") as view:
            view.show(progress(round=1, accuracies=BOTH, updated=frozenset({"client-1"})))

    picture = printed(use, force_terminal=True, color_system=None)
    assert "round 2 of 2" in picture
    assert "update sent" in picture
    assert "trains" in picture
    assert "0.70" in picture


def test_a_terminal_sees_the_local_rounds_of_a_daisy_chain():
    def use(console):
        with LiveView(console, SHARDS, 3, "FedDC") as view:
            view.show(progress(round=3, period=2, accuracies={2: BOTH[1]}))

    picture = printed(use, force_terminal=True, color_system=None)
    assert "round 2 of 3" in picture
    assert "local round 2 of 2" in picture


RESULT = Result(SHARDS, progress(state="C", round=1, accuracies=BOTH), [0.5, 0.9], 0.95)


def test_the_result_has_the_rounds_and_the_comparison():
    text = printed(lambda console: print_result(console, RESULT))
    rows = [line.replace("│", " ").split() for line in text.splitlines()]
    assert ["1", "0.700", "0.400", "0.800"] in rows
    assert ["client-2", "alone", "██", "150", "0.900"] in rows
    assert ["all", "together", "200", "0.950"] in rows


@pytest.mark.parametrize(("together", "better"), [(0.91, True), (0.9, False), (0.7, False)])
def test_better_is_better_than_every_client_alone(together, better):
    assert Result(SHARDS, progress(), [0.5, 0.9], together).better is better


def test_the_picture_is_a_png(tmp_path):
    plot(RESULT, tmp_path / "result.png")
    assert (tmp_path / "result.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
