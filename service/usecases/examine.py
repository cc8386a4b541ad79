"""Is this a catalog, and if not, why? Compiled down to validated Cedar, off the event loop.

A catalog with guards is examined in a process of its own: they are text for Cedar's parser, which dies on
what is nested too deep instead of raising. The bounds of `policies.compiler.guard_source` come first; should
they ever fail, a check fails and no server does. So is one with table tests or invariants, which ask Cedar
many thousand times: requests do not wait for that.
"""

import asyncio
import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from policies import limits, proof, validation
from policies.case_runner import Tested
from policies.compiler import build, paths
from policies.compiler.findings import Finding
from policies.compiler.known import Known
from policies.model import Catalog

log = logging.getLogger("metergate.catalog")

CHILD: Final = (sys.executable, "-P", "-m", "service.usecases.examine")
_ROOT: Final = Path(__file__).parents[2]
_INHERITED: Final = ("PATH", "LD_LIBRARY_PATH")
_GUARD: Final = ".cedar"
PROMISE: Final = "invariant"
"""The slug of what is refused unless somebody says that they know."""
_STDERR: Final = 2_000
_Packed = list[tuple[bytes, bytes]]
"""Files as they go to the child: lone surrogates in a text stay what they are."""


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """A catalog and what was found in it.

    `catalog` is None if it cannot be compiled. One that fails its own tests or breaks its promises is there
    to be compared and replayed; whether it may be published, `publish.refusals` says.
    """

    catalog: Catalog | None
    findings: list[Finding]
    tested: Tested | None = None
    """What came of its table tests; None where it does not compile."""


async def examine(files: Mapping[str, str], known: Known | None = None) -> Examined:
    """Compiles the files, in a child process if need be. What is known is not read again."""
    asks = any(
        path.endswith(_GUARD) or path == paths.INVARIANTS or path.startswith(f"{paths.TESTS}/")
        for path in files
    )
    return await asyncio.to_thread(apart if asks else compiled, dict(files), known)


def compiled(files: Mapping[str, str], known: Known | None = None) -> Examined:
    """Compiles the files here and now."""
    done = build.compile_catalog(files, known)
    valid = {plan.version for plan in known.catalog.plans.values()} if known else set[str]()
    findings = list(done.findings)
    if done.catalog is None:
        return Examined(catalog=None, findings=findings)
    for plan in done.catalog.plans.values():
        if plan.version in valid:
            continue
        for sentence in validation.validate(plan):
            path, _, line = plan.source.rpartition(":")
            findings.append(
                Finding(
                    path=path,
                    line=int(line),
                    column=1,
                    severity="error",
                    slug="cedar",
                    text=plan.plan_id,
                    message=sentence,
                )
            )
    if _broken_by(findings):
        return Examined(catalog=None, findings=findings)
    proven = proof.prove(done, files, known.catalog if known else None)
    findings += proven.findings
    return Examined(catalog=done.catalog, findings=findings, tested=proven.tested)


def apart(
    files: Mapping[str, str],
    known: Known | None = None,
    *,
    argv: Sequence[str] | None = None,
    seconds: float | None = None,
) -> Examined:
    """Compiles the files in a child process; one that dies or takes too long is a finding."""
    before = None if known is None else (_packed(known.files), known.catalog)
    said = msgspec.msgpack.encode((_packed(files), before))
    patience = seconds or limits.EXAMINE_S + limits.EXAMINE_S_PER_MB * len(said) / 1_000_000
    try:
        done = subprocess.run(  # noqa: S603 - our own program; the files go in as data
            list(argv or CHILD),
            input=said,
            capture_output=True,
            check=False,
            timeout=patience,
            env=environment(),
        )
        if done.returncode == 0:
            return msgspec.msgpack.decode(done.stdout, type=Examined)
        log.error("A check of a catalog died: %s", done.stderr[-_STDERR:].decode(errors="replace"))
        return _broken(files, f"the check of this catalog {_epitaph(done.returncode)}")
    except subprocess.TimeoutExpired:
        return _broken(files, f"the check of this catalog was not done after {patience:,.0f} s")
    except msgspec.DecodeError:
        return _broken(files, "the check of this catalog gave no answer that can be read")


def environment() -> dict[str, str]:
    """All that a child of ours is given: it needs no secret."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return inherited | {"PYTHONPATH": str(_ROOT)}


def main() -> None:
    """The child: files in, what was found out. It leaves no core dump, and no work behind a dead parent."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    said = sys.stdin.buffer.read()
    seconds = int(limits.EXAMINE_S + limits.EXAMINE_S_PER_MB * len(said) / 1_000_000)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    files, before = msgspec.msgpack.decode(said, type=tuple[_Packed, tuple[_Packed, Catalog] | None])
    known = None if before is None else Known(_unpacked(before[0]), before[1])
    sys.stdout.buffer.write(msgspec.msgpack.encode(compiled(_unpacked(files), known)))


def _broken_by(findings: Sequence[Finding]) -> bool:
    return any(finding.severity == "error" for finding in findings)


def _broken(files: Mapping[str, str], message: str) -> Examined:
    guards = sorted(path for path in files if path.endswith(_GUARD))
    finding = Finding(
        path=guards[0] if guards else min(files, default=""),
        line=1,
        column=1,
        severity="error",
        slug="check-failed",
        text="",
        message=message,
        hint="take out what was changed last" + ("; a guard may be the cause" if guards else ""),
    )
    return Examined(catalog=None, findings=[finding])


def _epitaph(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"


def _packed(files: Mapping[str, str]) -> _Packed:
    return [(_bytes(path), _bytes(text)) for path, text in files.items()]


def _unpacked(files: _Packed) -> dict[str, str]:
    return {_text(path): _text(text) for path, text in files}


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(said: bytes) -> str:
    return said.decode("utf-8", "surrogatepass")


if __name__ == "__main__":
    main()
