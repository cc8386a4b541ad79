"""A table test of a catalog: what is given, what is asked, what is expected. `tests/*.yaml` hold them.

Quantities are scaled by the decimals of their feature. A fact that a file does not name has its default here.
"""

from datetime import datetime

import msgspec

from policies.compiler.cedar import Reason
from policies.engine import Outcome
from policies.model import BillingStatus, Interval, Noun
from policies.override import Unlimited

Windows = dict[Interval, int]
"""What was used in the current window of each cap, by the cap's interval; 0 in those that are not named."""


class GivenGrant(Noun, frozen=True):
    """Extra quantity that the tenant has."""

    feature_id: str
    quantity: int
    priority: int = 100
    effective_at: datetime | None = None
    """None: long ago."""
    expires_at: datetime | None = None
    """None: never."""


class GivenOverride(Noun, frozen=True):
    """Terms of one feature that are replaced for the tenant; None is what stays as the plan has it."""

    included: int | Unlimited | None = None
    up_to: int | Unlimited | None = None
    value: bool | int | str | None = None
    """As `policies.override.Override` has it."""


class Given(Noun, frozen=True):
    """What is stored of the tenant, and what it has used."""

    plan_id: str | None = None
    """None: the tenant has no subscription."""
    addons: dict[str, int] = msgspec.field(default_factory=dict)
    """Add-on id → how many are held."""
    billing_status: BillingStatus = "good"
    trial: bool = False
    usage: dict[str, int] = msgspec.field(default_factory=dict)
    """By feature id: what was drawn in the current period, whatever the windows of caps hold of it."""
    rollover: dict[str, int] = msgspec.field(default_factory=dict)
    """By feature id: what the period before carried into the current one."""
    cap_usage: dict[str, Windows] = msgspec.field(default_factory=dict)
    """By feature id: what the tenant used in the windows of its caps."""
    entity_usage: dict[str, dict[str, Windows]] = msgspec.field(default_factory=dict)
    """By entity id and feature id: what the entity used in the windows of caps per entity."""
    grants: tuple[GivenGrant, ...] = ()
    overrides: dict[str, GivenOverride] = msgspec.field(default_factory=dict)
    """By feature id."""
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    """Facts about the tenant that guards read as tags."""
    at: datetime | None = None
    """The instant of the request; None where it does not matter."""


class When(Noun, frozen=True):
    """The request: a check."""

    feature_id: str
    quantity: int
    """One unit, where the file names none."""
    entity_id: str | None = None
    context: dict[str, str] = msgspec.field(default_factory=dict)
    """What the caller says: `context` of `given` and of `when` together."""


class Expect(Noun, frozen=True):
    """The decision; None is what is not compared."""

    allowed: bool
    reason: Reason
    outcome: Outcome | None = None
    remaining: int | Unlimited | None = None
    limit: int | Unlimited | None = None
    granted: int | Unlimited | None = None
    value: int | str | None = None
    """Of a static feature: a number (scaled), a text, or an object as canonical JSON."""
    policy_id: str | None = None
    """The policy of the first reason."""
    message: str | None = None
    """A part of the decision's sentence."""


class TableCase(Noun, frozen=True):
    """One row of the table."""

    name: str
    source: str
    """`tests/pro.yaml:3`."""
    given: Given
    when: When
    expect: Expect
