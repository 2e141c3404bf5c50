"""Many trainings on one production topology, parts of which are killed all the time.

    python -m tests.faults.soak --trainings 20 --people 10 --rounds 5

ends with figures; its exit status is 1 if a training didn't come to the end that it would
have come to undisturbed.
"""

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

from tests.e2e.crowd import listening
from tests.e2e.production import Production, running_production
from tests.faults.participants import UPDATE, Inboxes
from tests.faults.training import Cast, Running, running

SETTINGS = {
    "FL_MERGE_LEASE_SECONDS": "5",
    "FL_MERGE_ATTEMPTS": "50",  # a merge may be killed as often as that
    "FL_NOTIFY_TIMEOUT_SECONDS": "3",
    "FL_NOTIFY_RETRY_SECONDS": "1",
}
GRACE = 300
"""Seconds that trainings have to end in once nothing is killed any more."""
STORES = ("nginx", "redis", "postgres")
STORE_EVERY = 5
"""Kills until one of them has its turn."""


@dataclass
class Outcome:
    """What came of a training."""

    hashes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    error: str = ""


class Reaper:
    """Kills one process after the other, at random but the same for a seed."""

    def __init__(self, production: Production, seed: int, pause: float) -> None:
        self.kills: Counter[str] = Counter()
        self._production = production
        self._random = random.Random(seed)
        self._pause = pause
        self._victims = self._drawn()

    def _drawn(self) -> Iterator[str]:
        ours = sorted(self._production.commands)
        for number in cycle(range(STORE_EVERY)):
            yield self._random.choice(ours if number else STORES)

    def rest(self) -> None:
        """Pause, while what has died is started again."""
        end = time.monotonic() + self._random.uniform(0.5, 1.5) * self._pause
        while time.monotonic() < end:
            self._production.revive()
            time.sleep(0.2)

    def strike(self) -> None:
        victim = next(self._victims)
        if victim in STORES:
            server = getattr(self._production, victim)
            server.kill()
            time.sleep(0.5)
            server.start()
        else:
            self._production.kill(victim)
        self.kills[victim] += 1


def play(cast: Cast, rounds: int, *, until: float) -> Outcome:
    """Have a cast go through one training, by then if it can."""
    begin, outcome = time.monotonic(), Outcome()
    try:
        with running(cast, rounds=rounds, moment=(UPDATE, 0)) as training:
            training.patience = max(until - begin, GRACE / 10)
            outcome.hashes = _finished(training)
    except Exception:  # it is counted, the others go on
        outcome.error = traceback.format_exc(limit=-3)
    outcome.seconds = time.monotonic() - begin
    return outcome


def _finished(training: Running) -> list[str]:
    training.finish()
    training.check()
    return training.hashes()


def soak(production: Production, mail: tuple[str, Inboxes], options: argparse.Namespace) -> bool:
    """Play all trainings, some at once, while the reaper is about; tell whether all is well."""
    sizes = [options.people] * options.at_once
    casts = [Cast.of(production.url, mail, n, f"{slot}-") for slot, n in enumerate(sizes)]
    expected = play(casts[0], options.rounds, until=time.monotonic() + GRACE)
    assert not expected.error, expected.error
    print(f"undisturbed, a training takes {expected.seconds:.1f} s", flush=True)
    reaper, begin = Reaper(production, options.seed, options.pause), time.monotonic()
    until = begin + options.limit
    with ThreadPoolExecutor(options.at_once) as pool:
        shares = [range(slot, options.trainings, options.at_once) for slot in range(len(casts))]
        games = [
            pool.submit(_play_all, cast, len(share), options.rounds, until + GRACE)
            for cast, share in zip(casts, shares, strict=True)
        ]
        _reap(reaper, games, until=until)
    outcomes = [outcome for game in games for outcome in game.result()]
    return report(outcomes, expected, reaper, time.monotonic() - begin, options)


def _play_all(cast: Cast, trainings: int, rounds: int, until: float) -> list[Outcome]:
    return [play(cast, rounds, until=until) for _ in range(trainings)]


def _reap(reaper: Reaper, games: list[Future[list[Outcome]]], *, until: float) -> None:
    """Kill, here in the main thread: what it starts again dies with the thread that does so."""
    while not all(game.done() for game in games):
        reaper.rest()
        if time.monotonic() < until:
            reaper.strike()


def report(
    outcomes: list[Outcome],
    expected: Outcome,
    reaper: Reaper,
    seconds: float,
    options: argparse.Namespace,
) -> bool:
    """Print the figures; tell whether all came to the expected end."""
    complete = [outcome for outcome in outcomes if not outcome.error]
    equal = [outcome for outcome in complete if outcome.hashes == expected.hashes]
    kills = ", ".join(f"{name} {count}" for name, count in sorted(reaper.kills.items()))
    advanced = sum(len(outcome.hashes) - 1 for outcome in complete)
    print(f"kills                {reaper.kills.total()}: {kills}")
    print(f"trainings complete   {len(complete)} of {options.trainings}")
    print(f"rounds advanced      {advanced} of {options.trainings * options.rounds}, each once")
    print(f"weights as expected  {len(equal)} of {options.trainings}, bit for bit")
    print(f"wall time            {seconds:.0f} s")
    for outcome in outcomes:
        if outcome.error:
            print(outcome.error)
    return len(equal) == options.trainings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trainings", type=int, default=20)
    parser.add_argument("--people", type=int, default=10, help="in each training")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--at-once", type=int, default=4, help="trainings under way together")
    parser.add_argument("--pause", type=float, default=4, help="seconds between kills, about")
    parser.add_argument("--limit", type=float, default=1800, help="seconds; no kills after that")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="fl-soak-") as folder,
        listening(Inboxes()) as mail,
        running_production(Path(folder), SETTINGS) as production,
    ):
        is_well = soak(production, mail, options)
        if not is_well:
            print(production.log())
    sys.exit(0 if is_well else 1)


if __name__ == "__main__":
    main()
