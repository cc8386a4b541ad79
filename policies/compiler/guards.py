"""Which guards does a catalog have? Hand-written Cedar that may only take away (R5, R47).

An accepted guard is a `forbid`: Cedar allows only where a permit matches and no forbid does, so adding one
never opens anything. It cannot err (`guard_check`) unless the principal itself is missing; and to the engine
an error beside an Allow is no answer (R2).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import cedarpy

from policies import limits
from policies.compiler import guard_annotations, guard_cedar, guard_check, guard_scope, guard_source
from policies.compiler.findings import Findings, Place
from policies.compiler.guard_check import Access
from policies.compiler.guard_source import Policy
from policies.model import Feature, Guard


def read(
    files: Mapping[str, str], features: Mapping[str, Feature] | None, findings: Findings
) -> tuple[Guard, ...]:
    """The guards in path → text, by path and line; what is wrong with the others stands in `findings`.

    Without features, since they cannot be read, only the frames of guards are looked at.
    """
    written = [policy for path in sorted(files) for policy in guard_source.read(path, files[path], findings)]
    if len(written) > limits.GUARDS:
        message = f"a catalog has at most {limits.GUARDS} guards"
        findings.error(written[limits.GUARDS].tokens[0].at, "too-large", message)
        return ()
    if features is None:
        return ()
    schema = cedarpy.Schema.from_str(guard_cedar.guard_schema(features.values()))
    ids: dict[str, Place] = {}
    found = [_guard(policy, features, schema, ids, findings) for policy in written]
    guards = tuple(guard for guard in found if guard is not None)
    _crowded(guards, features, findings)
    return guards


def _guard(
    policy: Policy,
    features: Mapping[str, Feature],
    schema: cedarpy.Schema,
    ids: dict[str, Place],
    findings: Findings,
) -> Guard | None:
    before = findings.errors
    if policy.effect.text != "forbid":
        hint = "write forbid; what a plan gives stands in plans/"
        findings.error(policy.effect.at, "guard", "a guard may only take away", hint)
        return None
    said = guard_annotations.read(policy, ids, findings)
    named = guard_scope.read(policy, said.everywhere, features, findings)
    accesses = guard_check.check(policy, features, findings)
    _keys(accesses, named, features, findings)
    if findings.errors > before:
        return None
    guard_cedar.check(policy, accesses, schema, findings)
    if findings.errors > before:
        return None
    guard = Guard(
        id=said.id,
        source=policy.tokens[0].at.source,
        text=policy.text,
        reason=said.reason,
        features=named,
        request_keys=_names("key", accesses),
        tags=_names("tag", accesses),
    )
    if not guard_cedar.agrees(guard):
        message = "Cedar reads this guard otherwise than it stands here"
        findings.error(policy.effect.at, "cedar", message, "write it more simply")
    return guard


def _keys(
    accesses: Iterable[Access],
    named: Sequence[str] | None,
    features: Mapping[str, Feature],
    findings: Findings,
) -> None:
    """A key that no check may carry would make a guard that never holds, and nobody would see it."""
    known = {key for feature in features.values() for key in feature.context}
    for access in accesses:
        key = access.name.content
        if access.kind != "key":
            continue
        if key not in known:
            hint = findings.suggest(key, known) or "declare it in features.yaml: context: […]"
            findings.error(
                access.name.at, "guard", f"no feature declares the request key {access.name}", hint
            )
            continue
        lacking = [one for one in named or () if one in features and key not in features[one].context]
        if lacking:
            message = f"checks of {lacking[0]} carry no {access.name}"
            findings.error(access.name.at, "guard", message, "declare it in features.yaml: context: […]")


def _crowded(guards: Sequence[Guard], features: Mapping[str, Feature], findings: Findings) -> None:
    """Each guard of a feature is parsed again for every plan version that has the feature."""
    counts: Counter[str] = Counter()
    for guard in guards:
        counts.update(guard.features or list(features))
        crowded = next((one for one in counts if counts[one] > limits.GUARDS_OF_FEATURE), None)
        if crowded is not None:
            path, _, line = guard.source.rpartition(":")
            message = f"more than {limits.GUARDS_OF_FEATURE} guards hold for {crowded}"
            findings.error(
                Place(path=path, line=int(line)), "too-large", message, "put rules together with ||"
            )
            return


def _names(kind: str, accesses: Iterable[Access]) -> tuple[str, ...]:
    return tuple(sorted({access.name.content for access in accesses if access.kind == kind}))
