"""Rules of invariants.yaml itself. Whether a catalog keeps its invariants is verified at publish."""

from policies.compiler.fields import FeaturesSource, InvariantsSource
from policies.compiler.findings import Findings, quoted
from policies.compiler.source import CatalogSource


def check(said: InvariantsSource, catalog: CatalogSource, findings: Findings) -> None:
    """Adds the findings of all invariants."""
    names: set[str] = set()
    known = catalog.plan_ids | catalog.addon_ids
    for invariant in said.invariants or ():
        if invariant.name in names:
            message = f"a second invariant is called {quoted(invariant.name)}"
            findings.error(invariant.value("name"), "duplicate-name", message, "a name is told once")
        if invariant.name is not None:
            names.add(invariant.name)
        for exempt in invariant.exempt:
            if exempt.value not in known:
                message = f"there is no plan or add-on {quoted(exempt.value)}"
                hint = findings.suggest(exempt.value, known) or "take it out"
                findings.error(exempt.at, "unknown-plan", message, hint)
        if invariant.owed is not None and invariant.rule not in (None, "costly-bounded"):
            message = f"owed beside {invariant.rule}, which has no prices"
            findings.error(
                invariant.value("owed"), "misplaced-field", message, "it belongs to costly-bounded"
            )
        if invariant.rule == "ladder-monotone" and catalog.features and _no_ladder(catalog.features):
            message = "ladder-monotone has no ladder to hold"
            hint = "write ladder: [...] with the plans in upgrade order into features.yaml"
            findings.warning(invariant.value("rule"), "no-effect", message, hint)


def _no_ladder(features: FeaturesSource) -> bool:
    return not features.ladder and features.sound("ladder")
