"""What a table test may name: looked up with a suggestion for what is not there."""

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from policies.compiler import check_amounts
from policies.compiler.check_amounts import Amount
from policies.compiler.fields import FeatureSource
from policies.compiler.findings import Findings, Place, quoted
from policies.compiler.outline import Outline
from policies.compiler.records import Keyed


class Shelf(NamedTuple):
    """What a table test may speak of, by id."""

    features: Mapping[str, FeatureSource | None]
    plans: Mapping[str, Outline]
    addons: Mapping[str, Outline]
    fallback_plan: str | None


class Named:
    """Looks up what a case names."""

    def __init__(self, shelf: Shelf, findings: Findings) -> None:
        self.shelf, self.findings = shelf, findings

    def feature(self, feature_id: str, at: Place) -> FeatureSource | None:
        """The feature; None if there is none, or none that could be read."""
        if feature_id not in self.shelf.features:
            hint = self.findings.suggest(feature_id, self.shelf.features) or "take it out"
            message = f"features.yaml has no feature {quoted(feature_id)}"
            self.findings.error(at, "unknown-feature", message, hint)
        return self.shelf.features.get(feature_id)

    def metered(self, feature_id: str, at: Place, field: str) -> FeatureSource | None:
        """The same for what only a metered feature has."""
        feature = self.feature(feature_id, at)
        if feature is None or feature.type in {"metered", None}:
            return feature
        message = f"{field} counts metered features, and {quoted(feature_id)} is {feature.type}"
        self.findings.error(at, "case", message)
        return None

    def fits(self, name: str, said: Keyed[Decimal], feature_id: str, feature: FeatureSource) -> None:
        """Whether the feature keeps such a quantity."""
        check_amounts.fits(Amount(name, said.value, said.value_at), feature_id, feature, self.findings)
