"""Time is an argument: one module reads the clock, and neither SQL nor Lua reads one of its own."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("policies", "service", "store", "jobs", "integrations")
READS = {
    ".py": r"\b(datetime|date)\.(now|today|utcnow)\b|\btime\.(time|time_ns|ctime|clock_gettime)\b",
    ".sql": r"(?i)\b(now|(clock|statement|transaction)_timestamp)\s*\(|\bcurrent_(date|time|timestamp)\b",
    ".lua": r"(?i)['\"]time['\"]|\bos\.(time|date|clock)\b",
}
EXEMPT = {
    "service/clock.py": "the one reader",
    "store/sql/probes.sql": "how far the clock of Postgres is from ours",
    "store/migrations/0002_facts_about_tenants.sql": "carried over once, as of the day of the migration",
}


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_else_reads_a_clock(room):
    found = {
        str(path.relative_to(ROOT))
        for path in (ROOT / room).rglob("*")
        if path.suffix in READS and re.search(READS[path.suffix], path.read_text())
    }
    assert found <= set(EXEMPT)
