"""Table tests as they were read, made into cases; quantities are scaled by the decimals of their feature."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import get_args

from policies.cases import Expect, Given, GivenGrant, GivenOverride, TableCase, When, Windows
from policies.compiler import build_terms
from policies.compiler.case_fields import (
    CaseSource,
    ExpectSource,
    GivenSource,
    GrantSource,
    OverrideSource,
    Texts,
    WhenSource,
)
from policies.compiler.case_fields import Windows as SaidWindows
from policies.compiler.numbers import scaled
from policies.compiler.source import TableFile
from policies.compiler.terms import SwitchSource
from policies.compiler.terms_fields import TermsNode
from policies.model import Feature, Interval
from policies.override import Unlimited


def cases(tables: Iterable[TableFile], features: Mapping[str, Feature]) -> tuple[TableCase, ...]:
    """All cases, in their order; only for files without errors, as the asserts say."""
    return tuple(_Case(table, features).case(said) for table in tables for said in table.cases)


class _Case:
    """Makes the cases of one file."""

    def __init__(self, table: TableFile, features: Mapping[str, Feature]) -> None:
        self._table, self._features = table, features

    def case(self, said: CaseSource) -> TableCase:
        """One of them."""
        assert said.name is not None
        assert said.given is not None
        assert said.when is not None
        assert said.expect is not None
        assert said.when.feature is not None
        context = _texts(said.given.context) | _texts(said.when.context)
        return TableCase(
            name=said.name,
            source=said.at.source,
            given=self._given(said.given),
            when=self._when(said.when, said.when.feature.value, context),
            expect=self._expect(said.expect, said.when.feature.value),
        )

    def _given(self, said: GivenSource) -> Given:
        return Given(
            plan_id=said.plan.value if said.plan else None,
            addons={held.id: held.quantity for held in said.addons},
            billing_status=said.billing_status,
            trial=said.trial,
            usage={
                feature_id: self._scaled(used.value, feature_id)
                for feature_id, used in said.usage.items()
                if used is not None
            },
            rollover={
                feature_id: self._scaled(carried.value, feature_id)
                for feature_id, carried in said.rollover.items()
                if carried is not None
            },
            cap_usage=self._windows(said.cap_usage),
            entity_usage={
                entity: self._windows(windows)
                for entity, windows in said.entity_usage.items()
                if windows is not None
            },
            grants=tuple(self._grant(grant) for grant in said.grants),
            overrides={
                feature_id: self._override(override.value, feature_id)
                for feature_id, override in said.overrides.items()
                if override is not None
            },
            metadata={key: text for key, text in said.metadata.items() if text is not None},
            at=said.now,
        )

    def _windows(self, said: SaidWindows) -> dict[str, Windows]:
        return {
            feature_id: {
                interval: self._scaled(used.value, feature_id)
                for interval in get_args(Interval)
                if (used := windows.value.get(interval)) is not None
            }
            for feature_id, windows in said.items()
            if windows is not None
        }

    def _grant(self, said: GrantSource) -> GivenGrant:
        assert said.feature is not None
        assert said.quantity is not None
        return GivenGrant(
            feature_id=said.feature.value,
            quantity=self._scaled(said.quantity, said.feature.value),
            priority=said.priority,
            effective_at=said.effective_at,
            expires_at=said.expires_at,
        )

    def _override(self, said: OverrideSource, feature_id: str) -> GivenOverride:
        return GivenOverride(
            included=self._amount(said.included, feature_id),
            up_to=self._amount(said.up_to, feature_id),
            value=self._value(said.content, feature_id),
        )

    def _when(self, said: WhenSource, feature_id: str, context: dict[str, str]) -> When:
        return When(
            feature_id=feature_id,
            quantity=self._scaled(said.quantity, feature_id),
            entity_id=said.entity,
            context=context,
        )

    def _expect(self, said: ExpectSource, feature_id: str) -> Expect:
        assert said.allowed is not None
        assert said.reason is not None
        value = self._value(said.content, feature_id)
        assert not isinstance(value, bool)
        return Expect(
            allowed=said.allowed,
            reason=said.reason,
            outcome=said.outcome,
            remaining=self._amount(said.remaining, feature_id),
            limit=self._amount(said.limit, feature_id),
            granted=self._amount(said.granted, feature_id),
            value=value,
            policy_id=said.policy_id,
            message=said.message,
        )

    def _value(self, said: TermsNode | None, feature_id: str) -> bool | int | str | None:
        value = self._table.values[said.node.at] if said else None
        if value is None or isinstance(value, SwitchSource):
            return value.given if value else None
        return build_terms.value(value, self._features[feature_id])

    def _amount(self, said: Decimal | None, feature_id: str) -> int | Unlimited | None:
        if said is None or said.is_infinite():
            return None if said is None else "unlimited"
        return self._scaled(said, feature_id)

    def _scaled(self, said: Decimal, feature_id: str) -> int:
        return scaled(said, self._features[feature_id].decimals)


def _texts(said: Texts) -> dict[str, str]:
    return {key: text.value for key, text in said.items() if text is not None}
