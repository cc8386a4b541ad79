"""Whatever is killed when: nothing acknowledged is lost, nothing counts twice or beyond a limit."""

import sys

import pytest

from scripts.crashing import run as runs
from scripts.crashing.nemesis import Deck
from scripts.crashing.run import Plan

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="disks are watched and children found in /proc"
)


def test_a_few_seconds_of_faults_leave_everything_right(capfd):
    deck = Deck()
    outcome = runs.run(Plan(seconds=6, reporting=12, limited=2, capped=1), 7, deck, print)
    assert outcome.verdict.sound, outcome.verdict
    assert outcome.verdict.acknowledged > 0
    assert sum(outcome.kills.values()) >= 6, "at least all parts at once in the end"
