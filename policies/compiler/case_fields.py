"""The fields of tests/*.yaml: what a table test gives, asks and expects."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Final, TypeAlias, get_args

import msgspec

from policies import limits
from policies.compiler.cedar import Reason
from policies.compiler.findings import Findings, Place
from policies.compiler.kinds import Choice, Flag, Instant, Pattern, Schema, Text, catalog_id, key, mismatch
from policies.compiler.nodes import Mapping, Node, Scalar, Sequence, Unreadable
from policies.compiler.numbers import Quantity, Whole
from policies.compiler.records import Field, Keyed, KeyedOf, ListOf, MapOf, Placed, PlacedOf, Record, RecordOf
from policies.compiler.terms_fields import TermsNode
from policies.engine import Outcome
from policies.model import BillingStatus, Interval

_ENTITY: Final = Pattern(limits.ID_PATTERN, "an id as callers give it (letters, digits and some signs)")
_FACT: Final = Pattern("^[A-Za-z][A-Za-z0-9_.-]{0,62}$", "a word that begins with a letter")
_AMOUNT: Final = Quantity(unlimited=True)

Amounts: TypeAlias = dict[str, Keyed[Decimal] | None]
"""By feature id, or by the interval of a cap."""
Windows: TypeAlias = dict[str, Keyed[Amounts] | None]
"""By feature id; in it by the interval of a cap."""
Texts: TypeAlias = dict[str, Keyed[str] | None]

_WINDOWS: Final = MapOf(
    KeyedOf(
        MapOf(
            KeyedOf(Quantity()),
            "quantity",
            ids=Choice(*get_args(Interval)),
            by="cap interval",
            most=limits.CAPS,
        )
    ),
    "group of quantities",
    by="feature",
    ids=None,
    most=limits.FEATURES,
)
_CONTEXT: Final = MapOf(
    KeyedOf(Text(limits.PROPERTY_LENGTH)), "text", by="key", ids=key(), most=limits.PROPERTY_COUNT
)


class AnyValue:
    """Keeps the node for `terms.value`, which knows the features."""

    says = "a value"
    schema: Final[Schema] = {"type": ["boolean", "string", "integer", "object"]}

    def read(self, node: Node, name: str, at: Place, findings: Findings) -> TermsNode:  # noqa: ARG002 (the protocol's)
        """As `Kind` says; nothing is refused here."""
        return TermsNode(at=at, node=node)


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """An add-on that is held."""

    id: str
    at: Place
    quantity: int = 1


class HeldAddons:
    """A list of add-ons, or how many there are of each."""

    says = "a list of add-ons, or a group of how many there are of each"
    _list: Final = ListOf(PlacedOf(catalog_id()), "an add-on", most=limits.ADDONS)
    _map: Final = MapOf(
        KeyedOf(Whole(1, limits.ADDON_QUANTITY)), "add-on", ids=catalog_id(), most=limits.ADDONS
    )
    schema: Final[Schema] = {"anyOf": [_list.schema, _map.schema]}

    def read(self, node: Node, name: str, at: Place, findings: Findings) -> tuple[Held, ...] | None:
        """As `Kind` says."""
        if isinstance(node, Sequence):
            listed = self._list.read(node, name, at, findings)
            return None if listed is None else tuple(Held(id=item.value, at=item.at) for item in listed)
        if isinstance(node, Mapping):
            counted = self._map.read(node, name, at, findings) or {}
            return tuple(
                Held(id=addon_id, at=item.at, quantity=item.value)
                for addon_id, item in counted.items()
                if item
            )
        if not isinstance(node, Unreadable):
            one = isinstance(node, Scalar) and not node.empty
            hint = f"put it in brackets: [{node.at.text}]" if one else ""
            findings.error(node.at, "wrong-type", mismatch(name, self.says, node), hint)
        return None


class GrantSource(Record, frozen=True):
    """Extra quantity that the tenant has."""

    feature: Annotated[
        Placed[str] | None, Field(PlacedOf(catalog_id()), "A metered feature.", required=True)
    ] = None
    quantity: Annotated[Decimal | None, Field(Quantity(), "In the feature's unit.", required=True)] = None
    priority: Annotated[
        int, Field(Whole(0, limits.PRIORITY_MAX), "Lower draws first; what a plan includes has 100.")
    ] = 100
    effective_at: Annotated[
        datetime | None, Field(Instant(), "From when it holds. Without it: since long ago.")
    ] = None
    expires_at: Annotated[datetime | None, Field(Instant(), "When it ends. Without it: never.")] = None


class OverrideSource(Record, frozen=True):
    """Terms that are replaced for the tenant; what is not said stays as the plan has it."""

    included: Annotated[
        Decimal | None, Field(_AMOUNT, "In place of what the plan includes of a metered feature.")
    ] = None
    up_to: Annotated[Decimal | None, Field(_AMOUNT, "In place of the plan's bound on overage.")] = None
    content: Annotated[
        TermsNode | None,
        Field(AnyValue(), "In place of the value of a boolean or static feature.", name="value"),
    ] = None


class GivenSource(Record, frozen=True):
    """What is stored of the tenant, and what it has used."""

    plan: Annotated[
        Placed[str] | None, Field(PlacedOf(catalog_id()), "The plan. Without it there is no subscription.")
    ] = None
    addons: Annotated[
        tuple[Held, ...], Field(HeldAddons(), "Add-ons that are held: a list, or how many of each.")
    ] = ()
    billing_status: Annotated[
        BillingStatus, Field(Choice(*get_args(BillingStatus)), "What payment facts say of the tenant.")
    ] = "good"
    trial: Annotated[bool, Field(Flag(), "Whether the trial of the plan runs.")] = False
    usage: Annotated[
        Amounts,
        Field(
            MapOf(KeyedOf(Quantity()), "quantity", by="feature", ids=None, most=limits.FEATURES),
            "What was used in the current period, by feature: {ai-tokens: 500}.",
        ),
    ] = msgspec.field(default_factory=dict)
    rollover: Annotated[
        Amounts,
        Field(
            MapOf(KeyedOf(Quantity()), "quantity", by="feature", ids=None, most=limits.FEATURES),
            "What the period before carried into the current one, by feature: {ai-tokens: 50_000}.",
        ),
    ] = msgspec.field(default_factory=dict)
    cap_usage: Annotated[
        Windows,
        Field(_WINDOWS, "What was used in the current windows of caps: {ai-tokens: {day: 500}}."),
    ] = msgspec.field(default_factory=dict)
    entity_usage: Annotated[
        dict[str, Windows | None],
        Field(
            MapOf(_WINDOWS, "entity", ids=_ENTITY, most=limits.CASE_ENTITIES),
            "What an entity used in the current windows of caps per entity: {ada: {ai-tokens: {day: 500}}}.",
        ),
    ] = msgspec.field(default_factory=dict)
    grants: Annotated[
        tuple[GrantSource, ...],
        Field(ListOf(RecordOf(GrantSource), "a grant", most=limits.GRANTS), "Extra quantities."),
    ] = ()
    overrides: Annotated[
        dict[str, Keyed[OverrideSource] | None],
        Field(
            MapOf(
                KeyedOf(RecordOf(OverrideSource)), "override", by="feature", ids=None, most=limits.FEATURES
            ),
            "Replaced terms, by feature.",
        ),
    ] = msgspec.field(default_factory=dict)
    metadata: Annotated[
        dict[str, str | None],
        Field(
            MapOf(Text(limits.METADATA_LENGTH), "text", by="key", ids=_FACT, most=limits.METADATA_COUNT),
            "Facts about the tenant that guards read.",
        ),
    ] = msgspec.field(default_factory=dict)
    now: Annotated[datetime | None, Field(Instant(), "The instant of the request.", name="at")] = None
    context: Annotated[Texts, Field(_CONTEXT, "What the caller says, as in `when`.")] = msgspec.field(
        default_factory=dict
    )


class WhenSource(Record, frozen=True):
    """The request."""

    feature: Annotated[
        Placed[str] | None, Field(PlacedOf(catalog_id()), "What the tenant wants to use.", required=True)
    ] = None
    quantity: Annotated[Decimal, Field(Quantity(), "How much of it; one unit without it.")] = Decimal(1)
    entity: Annotated[str | None, Field(_ENTITY, "The user, seat or workspace that uses it.")] = None
    context: Annotated[Texts, Field(_CONTEXT, "What the caller says: {region: eu}.")] = msgspec.field(
        default_factory=dict
    )


class ExpectSource(Record, frozen=True):
    """The decision; what is not said is not compared."""

    allowed: Annotated[bool | None, Field(Flag(), "Whether it is allowed.", required=True)] = None
    reason: Annotated[
        Reason | None, Field(Choice(*get_args(Reason)), "Why: the first reason.", required=True)
    ] = None
    outcome: Annotated[
        Outcome | None, Field(Choice(*get_args(Outcome)), "allowed, denied, or could not be decided.")
    ] = None
    remaining: Annotated[Decimal | None, Field(_AMOUNT, "What is left before the request.")] = None
    limit: Annotated[Decimal | None, Field(_AMOUNT, "Where refusal begins.")] = None
    granted: Annotated[Decimal | None, Field(_AMOUNT, "All that is granted, without overage.")] = None
    content: Annotated[
        TermsNode | None, Field(AnyValue(), "The value of a static feature.", name="value")
    ] = None
    policy_id: Annotated[
        str | None, Field(Text(), "The policy that decides: plan/pro/ai-tokens/included.")
    ] = None
    message: Annotated[str | None, Field(Text(limits.REASON_LENGTH), "A part of the answer's sentence.")] = (
        None
    )


class CaseSource(Record, frozen=True):
    """One row of the table."""

    name: Annotated[
        str | None, Field(Text(), "What it shows, in words of yours; told when it fails.", required=True)
    ] = None
    given: Annotated[
        GivenSource | None, Field(RecordOf(GivenSource), "The tenant. {} has no plan.", required=True)
    ] = None
    when: Annotated[WhenSource | None, Field(RecordOf(WhenSource), "The request.", required=True)] = None
    expect: Annotated[ExpectSource | None, Field(RecordOf(ExpectSource), "The decision.", required=True)] = (
        None
    )


class TableSource(Record, frozen=True):
    """One file in tests/."""

    cases: Annotated[
        tuple[CaseSource, ...] | None,
        Field(
            ListOf(RecordOf(CaseSource), "a case", least=1, most=limits.TABLE_CASES),
            "Each a tenant, a request and the decision that is expected.",
            required=True,
        ),
    ] = None


TABLE: Final = RecordOf(TableSource)


def values(case: CaseSource) -> Iterator[tuple[str, TermsNode]]:
    """Every `value` of a case, with the feature whose value it is."""
    for feature_id, override in (case.given.overrides if case.given else {}).items():
        if override is not None and override.value.content is not None:
            yield feature_id, override.value.content
    if case.when and case.when.feature and case.expect and case.expect.content:
        yield case.when.feature.value, case.expect.content
