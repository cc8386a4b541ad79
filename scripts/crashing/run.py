"""One run: a world is made, used, wrecked for a while, started as an operator would, and judged."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from scripts.crashing import stage as stages
from scripts.crashing.clients import Kinds
from scripts.crashing.judge import Verdict
from scripts.crashing.nemesis import Deck, Nemesis
from scripts.crashing.stage import Judged, Say, Setting

DURABILITY: Final = "METERGATE_DURABILITY"


class Outcome(msgspec.Struct, kw_only=True):
    """What came of it."""

    verdict: Verdict
    kills: dict[str, int]
    done: dict[str, int]
    answers: dict[str, int]
    rest_s: float
    power_cuts: str
    """Empty, or why there were none."""


class UnsoundError(Exception):
    """Something was found; the folder is kept."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(", ".join(outcome.verdict.examples))
        self.outcome = outcome


def run(
    setting: Setting, seconds: float, *, seed: int, deck: Deck, say: Say, kinds: Kinds | None = None
) -> Outcome:
    """One run, in a folder of its own that goes with it unless something was found.

    Errors: UnsoundError, SiteError.
    """
    with stages.stage(setting, say) as stage:
        strict = setting.environment.get(DURABILITY) == "strict"
        nemesis = Nemesis(stage.site, seed, deck, may_lose_valkey=strict)
        stage.start()
        stage.await_ready()
        stage.send(seed, kinds or Kinds())
        nemesis.run(time.monotonic() + seconds)
        nemesis.kill_machine()
        outcome = _outcome(stage.judge(), nemesis, stage.site.valkey.no_cuts)
        if not outcome.verdict.sound:
            raise UnsoundError(outcome)
        return outcome


def _outcome(judged: Judged, nemesis: Nemesis, no_cuts: str) -> Outcome:
    return Outcome(
        verdict=judged.verdict,
        kills=dict(nemesis.killed),
        done=dict(nemesis.done),
        answers=judged.account.answers,
        rest_s=judged.rest_s,
        power_cuts=no_cuts,
    )


def total(outcomes: Sequence[Outcome]) -> Verdict:
    """What was found in all of them."""
    found = Verdict()
    for outcome in outcomes:
        found.add(outcome.verdict)
    return found


def kills(outcomes: Sequence[Outcome]) -> Counter[str]:
    """Processes that were killed, by part."""
    found: Counter[str] = Counter()
    for outcome in outcomes:
        found.update(outcome.kills)
    return found
