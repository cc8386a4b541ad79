"""Checks a second and their p99 on the whole machine, beside Cerbos deciding by the same rule.

Cerbos is a policy server in Go. It is asked `/api/check/resources` with the usage in the request; we look
ours up. Its program comes from npm, into a folder that goes with the benchmark.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from scripts.benchmarks import figure, load, sides
from scripts.benchmarks.figure import Figure, Run, Settings
from scripts.benchmarks.load import LoadError, Measured, Shot
from service.embedded import samples

PACKAGE: Final = "@cerbos/cerbos-linux-x64@0.55.0"
PROCESSES: Final = (1, 2)
"""Of our API: the number that serves more is measured."""
WARM_UP_S: Final = 2

_SETTINGS: Final = """\
server: {{httpListenAddr: "127.0.0.1:{http}", grpcListenAddr: "127.0.0.1:{grpc}"}}
storage: {{driver: disk, disk: {{directory: "{folder}", watchForChanges: false}}}}
audit: {{enabled: false}}
telemetry: {{disabled: true}}
"""
_POLICY: Final = """\
apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: ai-tokens
  version: default
  rules:
    - name: included
      actions: [use]
      effect: EFFECT_ALLOW
      roles: [tenant]
      condition:
        match:
          all:
            of:
              - expr: P.attr.billingStatus in ["good", "grace", "restricted"]
              - expr: R.attr.drawn + R.attr.requested <= 1000000.0 + P.attr.extra
              - expr: R.attr.usedToday + R.attr.requested <= 100000
              - expr: R.attr.usedTodayByEntity + R.attr.requested <= 20000
    - name: overage
      actions: [use]
      effect: EFFECT_ALLOW
      roles: [tenant]
      condition:
        match:
          all:
            of:
              - expr: P.attr.billingStatus in ["good", "grace"]
              - expr: "!P.attr.trial"
              - expr: R.attr.drawn + R.attr.requested <= 5000000.0 + P.attr.extra
              - expr: R.attr.usedToday + R.attr.requested <= 100000
              - expr: R.attr.usedTodayByEntity + R.attr.requested <= 20000
"""
_QUESTION: Final = {
    "requestId": "bench",
    "principal": {
        "id": samples.TENANT,
        "roles": ["tenant"],
        "attr": {"billingStatus": "good", "trial": False, "extra": 0},
    },
    "resources": [
        {
            "actions": ["use"],
            "resource": {
                "kind": samples.FEATURE,
                "id": samples.FEATURE,
                "attr": {"drawn": 2_300, "requested": 150, "usedToday": 2_300, "usedTodayByEntity": 0},
            },
        }
    ],
}


def figures(settings: Settings) -> list[Figure]:
    """32 connections each. The first figure is requests a second, the second p99 (less is better)."""
    settings.say(f"Client: {load.client_name()}")
    with sides.temporary_folder() as folder, _cerbos(folder) as theirs:
        count = max(PROCESSES, key=_rate)
        settings.say(f"Our API serves most with {count} of {PROCESSES} processes.")
        with sides.api(count) as api:
            return _measure(_shots(api), [theirs], settings)


def _measure(ours: list[Shot], theirs: list[Shot], settings: Settings) -> list[Figure]:
    seen: dict[str, list[float]] = {"ours": [], "reference": []}

    def side(name: str, shots: list[Shot]) -> figure.Side:
        def once() -> float:
            found: Measured = load.measured(shots, settings.seconds)
            seen[name].append(found.p99_us)
            return found.rate

        return once

    for shots in (ours, theirs):
        load.measured(shots, WARM_UP_S)
    rates = figure.measure(
        "cerbos",
        unit="requests/s",
        ours=side("ours", ours),
        reference=side("reference", theirs),
        settings=settings,
    )
    pairs = zip(seen["ours"], seen["reference"], strict=True)
    runs = [Run(round(own, 1), round(other, 1), round(own / other, 4)) for own, other in pairs]
    return [rates, figure.of("cerbos-p99", "us", runs)]


def _rate(processes: int) -> float:
    with sides.api(processes) as api:
        shots = _shots(api)
        load.measured(shots, WARM_UP_S)
        return load.measured(shots, WARM_UP_S).rate


def _shots(api: sides.Api) -> list[Shot]:
    """All connections, spread over the processes."""
    body = f'{{"tenantId": "{samples.TENANT}", "featureId": "{samples.FEATURE}", "quantity": {{n}}}}'.encode()
    shot = msgspec.structs.replace(api.shot("/v1/check", body), below=20_000)
    each = load.CONNECTIONS // len(api.ports)
    return [msgspec.structs.replace(shot, port=port, connections=each) for port in api.ports]


@contextmanager
def _cerbos(folder: Path) -> Iterator[Shot]:
    """A request to a Cerbos that runs, and says that it would allow it."""
    program = _installed(folder)
    policies = folder / "policies"
    policies.mkdir()
    (policies / "tokens.yaml").write_text(_POLICY)
    http, grpc = sides.free_port(), sides.free_port()
    config = folder / "cerbos.yaml"
    config.write_text(_SETTINGS.format(http=http, grpc=grpc, folder=policies))
    log = folder / "cerbos.log"
    argv = [str(program), "server", f"--config={config}", "--log-level=error"]
    with sides.program(argv, os.environ, log) as running:
        sides.await_answer(http, "/_cerbos/health", b"SERVING", running, log)
        shot = Shot(
            port=http,
            path="/api/check/resources",
            headers={"Content-Type": "application/json"},
            body=msgspec.json.encode(_QUESTION),
        )
        said = sides.ask(shot).body
        if b'"EFFECT_ALLOW"' not in said:
            raise LoadError(f"Cerbos was to allow this: {said.decode()}")
        yield shot


def _installed(folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise LoadError("npm is not on the PATH; Cerbos is installed by it (Debian: apt install npm).")
    argv = [
        npm,
        "install",
        "--no-save",
        "--no-package-lock",
        "--no-audit",
        "--no-fund",
        "--prefix",
        str(folder),
    ]
    with contextlib.suppress(subprocess.SubprocessError):
        subprocess.run([*argv, PACKAGE], check=True, capture_output=True, timeout=300)  # noqa: S603 - ours
    found = next(folder.glob("node_modules/@cerbos/*/cerbos-linux-x64"), None)
    if found is None:
        raise LoadError(f"npm could not install {PACKAGE}.")
    return found
