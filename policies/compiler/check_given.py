"""Rules of what a table test gives: what it names exists, and what it says of it can be."""

from typing import Final, get_args

from policies.compiler import check_amounts
from policies.compiler.case_fields import GivenSource, GrantSource, OverrideSource, Windows
from policies.compiler.findings import Findings, quoted
from policies.compiler.records import Keyed
from policies.compiler.shelf import Named, Shelf
from policies.model import LEVELS, CapScope, Interval

_INTERVALS: Final = get_args(Interval)


def check(given: GivenSource, shelf: Shelf, findings: Findings) -> None:
    """Adds the findings of what is given."""
    _Given(given, shelf, findings).check()


class _Given(Named):
    """What is given of the tenant."""

    def __init__(self, given: GivenSource, shelf: Shelf, findings: Findings) -> None:
        super().__init__(shelf, findings)
        self.given = given

    def check(self) -> None:
        """Adds its findings."""
        given = self.given
        self._plan()
        self._addons()
        for name, amounts in (("usage", given.usage), ("rollover", given.rollover)):
            for feature_id, said in amounts.items():
                if said is not None and (feature := self.metered(feature_id, said.at, name)):
                    self.fits(name, said, feature_id, feature)
        self._windows("capUsage", given.cap_usage, "tenant")
        for windows in given.entity_usage.values():
            self._windows("entityUsage", windows or {}, "entity")
        for grant in given.grants:
            self._grant(grant)
        for feature_id, override in given.overrides.items():
            if override is not None:
                self._override(feature_id, override)

    def _plan(self) -> None:
        plan = self.given.plan
        if plan is not None and plan.value not in self.shelf.plans:
            hint = self.findings.suggest(plan.value, self.shelf.plans) or "take it out"
            self.findings.error(plan.at, "unknown-plan", f"there is no plan {quoted(plan.value)}", hint)

    def _addons(self) -> None:
        plan, seen = self.given.plan, set[str]()
        for held in self.given.addons:
            addon = self.shelf.addons.get(held.id)
            if addon is None:
                hint = self.findings.suggest(held.id, self.shelf.addons) or "take it out"
                self.findings.error(held.at, "unknown-addon", f"there is no add-on {quoted(held.id)}", hint)
            elif plan is None and self.given.sound("plan"):
                message = "an add-on is held beside a plan, and no plan is given"
                self.findings.error(held.at, "case", message)
            elif plan is not None and plan.value in self.shelf.plans and plan.value not in addon.plans:
                message = f"add-on {quoted(held.id)} is not for plan {quoted(plan.value)}"
                hint = f"it is for {', '.join(addon.plans)}" if addon.plans else ""
                self.findings.error(held.at, "case", message, hint)
            if held.id in seen:
                message = f"add-on {quoted(held.id)} stands here twice"
                self.findings.error(held.at, "case", message, f"write {{{held.id}: 2}} for two of them")
            seen.add(held.id)

    def _windows(self, field: str, said: Windows, per: CapScope) -> None:
        """Usage in the windows of caps that there are: what is given of others would change nothing."""
        for feature_id, windows in said.items():
            feature = self.metered(feature_id, windows.at, field) if windows else None
            if windows is None or feature is None:
                continue
            caps = self._caps(feature_id, per)
            for interval, used in windows.value.items():
                if used is None or interval not in _INTERVALS:
                    continue
                self.fits(field, used, feature_id, feature)
                if caps is not None and interval not in caps:
                    message = f"the plan has no cap of {quoted(feature_id)} each {interval} per {per}"
                    hint = f"it has one each {' and '.join(sorted(caps))}" if caps else "take it out"
                    self.findings.error(used.at, "case", message, hint)

    def _caps(self, feature_id: str, per: CapScope) -> set[str] | None:
        """The intervals of caps that may hold: those of the plan, or of the one that it falls back to."""
        plan = self.shelf.plans.get(self.given.plan.value) if self.given.plan else None
        if plan is None:
            return None
        fallback = self.shelf.plans.get(self.shelf.fallback_plan or "")
        givens = [each.gives[feature_id] for each in (plan, fallback) if each and feature_id in each.gives]
        return {interval for given in givens for interval, scope in given.caps if scope == per}

    def _grant(self, grant: GrantSource) -> None:
        if grant.expires_at and grant.effective_at and grant.expires_at <= grant.effective_at:
            message = "the grant ends before it begins"
            self.findings.error(grant.value("expires_at"), "case", message, "expiresAt is after effectiveAt")
        if grant.feature is None:
            return
        feature = self.metered(grant.feature.value, grant.feature.at, "a grant")
        if feature is not None and feature.aggregation in LEVELS:
            message = (
                f"{quoted(grant.feature.value)} is metered by {feature.aggregation}: nothing is granted of it"
            )
            hint = "raise its included quantity by an override"
            self.findings.error(grant.feature.at, "case", message, hint)
        elif feature is not None:
            for amount in check_amounts.of(grant):
                check_amounts.fits(amount, grant.feature.value, feature, self.findings)

    def _override(self, feature_id: str, said: Keyed[OverrideSource]) -> None:
        feature = self.feature(feature_id, said.at)
        if not said.value.keys:
            hint = "say included, upTo or value"
            self.findings.error(said.at, "missing-field", "the override replaces nothing", hint)
        if feature is None or feature.type is None:
            return
        for name, at in said.value.keys.items():
            if (name == "content") == (feature.type == "metered"):
                owners = "boolean and static" if name == "content" else "metered"
                message = (
                    f"{at.text} belongs to {owners} features, and {quoted(feature_id)} is {feature.type}"
                )
                self.findings.error(at, "misplaced-field", message)
        for amount in check_amounts.of(said.value):
            check_amounts.fits(amount, feature_id, feature, self.findings)
