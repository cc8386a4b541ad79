"""Plans a second of `metergate catalog publish`, 100 plans of 100 features, beside reading them with ruamel.

Two figures: all of it is new, and one plan of it was edited. Seconds and the largest memory of the process
are said beside each run.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Final

from scripts.benchmarks import figure
from scripts.benchmarks.figure import Figure, Settings
from scripts.benchmarks.load import LoadError
from service import bootstrap, clock
from service.embedded.servers import EmbeddedServers

PLANS: Final = 100
FEATURES: Final = 100
_ROOT: Final = Path(__file__).parents[2]
_READ: Final = """
import sys
from pathlib import Path
from ruamel.yaml import YAML
for path in Path(sys.argv[1]).rglob("*.yaml"):
    YAML(typ="safe", pure=True).load(path.read_text())
"""
_TERMS: Final = """  feature-{feature:03d}:
    included: {included}
    interval: month
    overage: {{model: perUnit, unitAmount: "0.01", upTo: 5_000}}
"""


def figures(settings: Settings) -> list[Figure]:
    """Each publish is a process of its own, as a person starts it, on private servers."""
    with tempfile.TemporaryDirectory(prefix="mgb") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with EmbeddedServers(folder / "data") as servers:
            environment = os.environ | {
                "METERGATE_DATABASE_URL": servers.running.database_url,
                "METERGATE_REDIS_URL": servers.running.redis_url,
            }
            asyncio.run(bootstrap.prepare(environment))
            return _both(folder / "plans", environment, settings)


def _both(folder: Path, environment: Mapping[str, str], settings: Settings) -> list[Figure]:
    numbers = count(1)
    publish = ["-m", "service", "catalog", "publish", str(folder), "--message", "a benchmark"]

    def whole() -> float:
        _write(folder, edition=next(numbers))
        return _rate("all of it", publish, environment, settings)

    def one() -> float:
        _edit(folder, next(numbers))
        return _rate("one plan of it", publish, environment, settings)

    def read() -> float:
        return _rate("ruamel alone", ["-c", _READ, str(folder)], environment, settings)

    _write(folder, edition=0)
    made = [
        figure.measure(name, unit="plans/s", ours=ours, reference=read, settings=settings)
        for name, ours in (("publish", whole), ("publish-one-edited", one))
    ]
    settings.say(f"{PLANS} plans of {FEATURES} features each; a rate of 1.7 plans/s is a minute for all.")
    return made


def _write(folder: Path, *, edition: int) -> None:
    """Another edition has other names of features, so that nothing of it is known."""
    named = (
        f"  feature-{n:03d}: {{type: metered, name: Feature {n} of {edition}, unit: unit}}\n"
        for n in range(FEATURES)
    )
    (folder / "plans").mkdir(parents=True, exist_ok=True)
    (folder / "features.yaml").write_text("features:\n" + "".join(named))
    for number in range(PLANS):
        _write_plan(folder, number, 0)


def _edit(folder: Path, edition: int) -> None:
    _write_plan(folder, PLANS // 2, edition)


def _write_plan(folder: Path, number: int, more: int) -> None:
    head = f'plan: plan-{number:03d}\nname: Plan {number}\ncurrency: usd\nprice: "{number}.00"\n'
    terms = (
        _TERMS.format(feature=feature, included=1000 * (feature + 1) + number + more)
        for feature in range(FEATURES)
    )
    text = f"{head}interval: month\nfeatures:\n{''.join(terms)}"
    (folder / "plans" / f"plan-{number:03d}.yaml").write_text(text)


def _rate(what: str, argv: Sequence[str], environment: Mapping[str, str], settings: Settings) -> float:
    began = clock.monotonic_s()
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-P", *argv],
        env=dict(environment) | {"PYTHONPATH": str(_ROOT)},
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = clock.monotonic_s() - began
    if process.returncode != 0:
        raise LoadError(f"It ended with {process.returncode}: {what}.")
    settings.say(f"  {what}: {seconds:.1f} s, {used.ru_maxrss / 1024:,.0f} MB")
    return PLANS / seconds
