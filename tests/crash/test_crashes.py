"""Whatever is killed when: nothing acknowledged is lost, nothing counts twice or beyond a limit."""

import sys

import pytest

from scripts.crashing import run as runs
from scripts.crashing.nemesis import Deck
from scripts.crashing.stage import Setting
from scripts.crashing.world import Size

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="disks are watched and children found in /proc"
)


def test_a_few_seconds_of_faults_leave_everything_right(capfd):
    deck = Deck()
    setting = Setting(apis=1, workers=1, size=Size(reporting=12, limited=2, capped=1))
    outcome = runs.run(setting, 4, seed=7, deck=deck, say=print)
    assert outcome.verdict.acknowledged > 0
    assert sum(outcome.kills.values()) >= 4, "at least all parts at once in the end"
