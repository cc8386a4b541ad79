"""What breaks an invariant: where, and a tenant to whom it would happen."""

from collections.abc import Iterable, Mapping

from policies import quantity
from policies.compiler.findings import Finding, Findings
from policies.message import plural
from policies.model import Feature, Invariant, InvariantRule, Noun, Severity


class Violation(Noun, frozen=True):
    """One way in which a catalog breaks an invariant of its own."""

    name: str
    """The invariant's."""
    rule: InvariantRule
    severity: Severity
    source: str
    """The line of the plan, add-on or guard that breaks it."""
    invariant_source: str
    counterexample: str
    """A tenant to whom it would happen, in one sentence with numbers."""


def of(invariant: Invariant, source: str, counterexample: str) -> Violation:
    """A violation of this invariant."""
    return Violation(
        name=invariant.name,
        rule=invariant.rule,
        severity=invariant.severity,
        source=source,
        invariant_source=invariant.source,
        counterexample=counterexample,
    )


def findings(violations: Iterable[Violation], files: Mapping[str, str]) -> tuple[Finding, ...]:
    """The violations as findings, each with the name of its invariant."""
    found = Findings(files)
    for one in violations:
        told = found.error if one.severity == "error" else found.warning
        message = f'breaks "{one.name}" ({one.invariant_source}): {one.counterexample}'
        told(found.place(one.source), "invariant", message, name=one.name)
    return found.sorted()


def amount(scaled: int, feature: Feature) -> str:
    """A number with its unit: `1 token`, `1,000 tokens`."""
    said = quantity.human(scaled, feature.decimals)
    if not feature.unit:
        return f"{said} {feature.name}"
    return f"{said} {feature.unit if said == '1' else plural(feature.unit)}"
