"""Rules of table tests: what is asked and expected fits the feature that is asked for."""

from collections.abc import Iterable
from typing import Final

from policies.compiler import check_amounts, check_given
from policies.compiler.case_fields import CaseSource, ExpectSource, Texts, WhenSource
from policies.compiler.fields import FeatureSource
from policies.compiler.findings import Findings, Place, quoted
from policies.compiler.shelf import Named, Shelf
from policies.compiler.source import TableFile
from policies.compiler.terms import ValueSource

_OWNERS: Final = {
    "remaining": (("metered",), "metered"),
    "granted": (("metered",), "metered"),
    "limit": (("metered", "integer", "decimal"), "metered and numeric"),
    "content": (("integer", "decimal", "string", "object"), "static"),
}
"""What the fields of an expectation belong to; a static feature whose value type is unknown may be any."""


def check(tables: Iterable[TableFile], shelf: Shelf, findings: Findings) -> None:
    """Adds the findings of all table tests."""
    for table in tables:
        names: dict[str, Place] = {}
        for case in table.cases:
            if case.name is not None:
                _new_name(case.name, case.value("name"), names, findings)
            if case.given is not None:
                check_given.check(case.given, shelf, findings)
            feature_id = case.when.feature if case.when else None
            feature = Named(shelf, findings).feature(feature_id.value, feature_id.at) if feature_id else None
            if case.when and feature_id and feature and feature.type:
                _Request(feature_id.value, feature, findings).check(case, case.when, table)


def _new_name(name: str, at: Place, names: dict[str, Place], findings: Findings) -> None:
    first = names.setdefault(name, at)
    if first is not at:
        message = f"a second case is called {quoted(name)}"
        findings.error(at, "duplicate-name", message, f"the first stands in line {first.line}")


class _Request:
    """One request for a feature that is known."""

    def __init__(self, feature_id: str, feature: FeatureSource, findings: Findings) -> None:
        self.name, self.feature_id, self.feature, self.findings = (
            quoted(feature_id),
            feature_id,
            feature,
            findings,
        )

    def check(self, case: CaseSource, when: WhenSource, table: TableFile) -> None:
        """Adds the findings of the request and of what is expected of it."""
        for amount in check_amounts.of(when):
            check_amounts.fits(amount, self.feature_id, self.feature, self.findings)
        self._entity(when)
        given = case.given.context if case.given else {}
        self._context(given, when.context)
        if case.expect is not None:
            self._expected(case.expect, table)

    def _entity(self, when: WhenSource) -> None:
        if not self.feature.sound("entity"):
            return
        if self.feature.entity == "none" and "entity" in when.keys:
            message = f"an entity, and {self.name} knows no entities"
            hint = "write entity: optional or entity: required in features.yaml"
            self.findings.error(when.key("entity"), "case", message, hint)
        if self.feature.entity == "required" and "entity" not in when.keys:
            message = f"{self.name} is used by an entity, and none is named"
            self.findings.error(when.key("feature"), "case", message, "add entity: to when")

    def _context(self, given: Texts, when: Texts) -> None:
        known = [item.value for item in self.feature.context]
        for key, said in (*given.items(), *when.items()):
            if said is not None and key not in known and self.feature.sound("context"):
                message = f"checks of {self.name} carry no {quoted(key)}"
                hint = self.findings.suggest(key, known) or "add it to its context in features.yaml"
                self.findings.error(said.at, "case", message, hint)
        for key, said in when.items():
            if said is not None and key in given:
                message = f"{quoted(key)} stands in the context of given, too"
                self.findings.error(said.at, "case", message, "say it once")

    def _expected(self, expect: ExpectSource, table: TableFile) -> None:
        feature, form = self.feature, self.feature.value_type or self.feature.type
        for name, (owners, which) in _OWNERS.items():
            if name in expect.keys and form not in {*owners, "static"}:
                message = f"{expect.keys[name].text} belongs to {which} features, and {self.name} is {form}"
                self.findings.error(expect.keys[name], "misplaced-field", message)
        for amount in check_amounts.of(expect):
            check_amounts.fits(amount, self.feature_id, feature, self.findings)
        value = table.values.get(expect.content.node.at) if expect.content else None
        if isinstance(value, ValueSource):
            for amount in check_amounts.of_value(value):
                check_amounts.fits(amount, self.feature_id, feature, self.findings)
