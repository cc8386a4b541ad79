"""Kills parts of an instance in the middle of its work, over and over, and looks for usage that is wrong."""

import argparse
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from scripts.crashing import controls, variant
from scripts.crashing import run as runs
from scripts.crashing.nemesis import HUNTED, Deck
from scripts.crashing.run import Outcome, UnsoundError
from scripts.crashing.stage import Setting

ROUND_S: Final = 60.0
"""One run; then another world, with the next seed."""
SHORTEST_S: Final = 5.0
HASTY: Final = (variant.__name__, "hasty")
"""Else journals would never be trimmed within a run."""
SETTINGS: Final = (
    Setting(),
    Setting(program=HASTY),
    Setting(environment={runs.DURABILITY: "strict"}),
    Setting(program=HASTY),
)
"""In turn. Under `strict` Valkey loses all that it has, now and then."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs for so many minutes; 0 if nothing was found, 1 otherwise."""
    given = _parser().parse_args(arguments)
    if given.controls:
        return _control(given)
    seed = given.seed if given.seed is not None else secrets.randbelow(1_000_000)
    deck = Deck()
    outcomes: list[Outcome] = []
    until = time.monotonic() + given.minutes * 60
    while (left := until - time.monotonic()) > 0 or not outcomes:
        seconds = min(ROUND_S, max(left, SHORTEST_S))
        try:
            outcome = runs.run(
                SETTINGS[len(outcomes) % len(SETTINGS)],
                seconds,
                seed=seed + len(outcomes),
                deck=deck,
                say=_say,
            )
        except UnsoundError as error:
            outcome = error.outcome
        outcomes.append(outcome)
        if not given.json:
            _show(seed + len(outcomes) - 1, outcome)
        if not outcome.verdict.sound:
            break
    told = summary(seed, outcomes, deck)
    print(msgspec.json.encode(told).decode() if given.json else _lines(told))
    return 0 if runs.total(outcomes).sound else 1


def _control(given: argparse.Namespace) -> int:
    """The negative controls; 0 if each was found."""
    results = []
    for result in controls.run_all(_say, given.server):
        results.append(result)
        if not given.json:
            _say(
                f"{result.name}: {'as it is to be' if result.good else 'NOT AS IT IS TO BE'}; {result.found}"
            )
    if given.json:
        print(msgspec.json.encode(results).decode())
    return 0 if all(result.good for result in results) else 1


def summary(seed: int, outcomes: Sequence[Outcome], deck: Deck) -> dict[str, Any]:
    """What all runs came to."""
    verdict = runs.total(outcomes)
    found = msgspec.to_builtins(verdict)
    examples = found.pop("examples")
    cuts = {outcome.power_cuts for outcome in outcomes} - {""}
    return {
        "kills": runs.kills(outcomes).total(),
        **found,
        "seed": seed,
        "runs": len(outcomes),
        "killed": dict(runs.kills(outcomes)),
        "crashPoints": f"{len(deck.reached)} of {len(HUNTED)}",
        "notReached": [point for point in HUNTED if not deck.reached[point]],
        "pairs": len(deck.pairs),
        "stalledAt": len(deck.stalled),
        "restS": round(max(outcome.rest_s for outcome in outcomes), 1),
        "powerCuts": f"none: {'; '.join(cuts)}" if cuts else "simulated",
        "examples": examples,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/crash", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long; 5 if it is not said")
    parser.add_argument("--seed", type=int, help="of what goes wrong when; else one is drawn, and told")
    parser.add_argument(
        "--controls", action="store_true", help="instead: what is broken on purpose has to be found"
    )
    parser.add_argument("--server", type=Path, help="a redis-server more, for the control of the rewrite")
    parser.add_argument("--json", action="store_true", help="one line of JSON in the end, and nothing else")
    return parser


def _show(seed: int, outcome: Outcome) -> None:
    verdict = outcome.verdict
    _say(
        f"seed {seed}: {sum(outcome.kills.values())} kills, {verdict.acknowledged:,} acknowledged, "
        f"{verdict.lost} lost, {verdict.doubled} doubled, {verdict.over_admitted} over limits; "
        f"{'sound' if verdict.sound else 'NOT SOUND'}, at rest after {outcome.rest_s:.1f} s"
    )


def _lines(told: dict[str, Any]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in told.items())


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
