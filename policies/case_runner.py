"""Does a catalog decide as its table tests expect? Each is run by the rules that decide about real tenants.

A case that names no instant is asked at noon of 15 January 2026. The tenant's subscription began on the first
of the month, so its periods are those of the calendar. What it used was drawn bucket by bucket, as a report
would draw it.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from policies import balance, coverage, decide, entitlement, model, quantity, rollover
from policies import grant as grants
from policies.balance import Levels
from policies.cases import Expect, Given, TableCase
from policies.coverage import Coverage, Seen
from policies.decide import Request
from policies.decision import Decision
from policies.engine import Engine
from policies.entitlement import Right
from policies.grant import Grant
from policies.model import Catalog, Feature, MeteredTerms, Noun, Offer, StaticTerms, Versions
from policies.override import Override
from policies.snapshot import Snapshot
from policies.subscription import BillingFact, HeldAddon, Phase, Subscription

NOON: Final = datetime(2026, 1, 15, 12, tzinfo=UTC)
_LONG: Final = timedelta(days=400)
_TENANT: Final = "tenant"


class Difference(Noun, frozen=True):
    """One expectation that was not met, in words."""

    field: str
    """As the file calls it: `policyId`."""
    expected: str
    got: str


class Result(Noun, frozen=True):
    """What came of one case; without differences it passed."""

    name: str
    source: str
    differences: tuple[Difference, ...] = ()
    message: str = ""
    """The decision's sentence."""
    policy_id: str | None = None
    decided_at: str | None = None
    """File and line of what decided."""

    def sentence(self) -> str:
        """What differs, and what decided."""
        told = "; ".join(f"expected {one.field} {one.expected}, got {one.got}" for one in self.differences)
        by = f"{self.policy_id}, {self.decided_at}" if self.policy_id else self.decided_at or "no policy"
        return f"{told} (decided by {by}: {self.message})"


class Tested(Noun, frozen=True):
    """All cases of a catalog, in their order, and which of its rules they saw decide."""

    results: tuple[Result, ...]
    coverage: Coverage

    @property
    def failed(self) -> tuple[Result, ...]:
        """Those that did not pass."""
        return tuple(result for result in self.results if result.differences)


def run(catalog: Catalog, cases: Iterable[TableCase]) -> Tested:
    """Every case, decided and compared."""
    runner, seen = _Runner(catalog), Seen()
    results = tuple(runner.result(case, seen) for case in cases)
    return Tested(results=results, coverage=coverage.of(catalog, seen))


class _Runner:
    """Decides the cases of one catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._offer: Offer = model.offer(catalog)
        self._versions: Versions = model.versions(catalog)
        self._engine = Engine()

    def result(self, case: TableCase, seen: Seen) -> Result:
        """One of them; `seen` learns what decided."""
        at, when = case.given.at or NOON, case.when
        right = entitlement.resolve(
            snapshot(self._catalog, case.given, at),
            offer=self._offer,
            versions=self._versions,
            feature_id=when.feature_id,
            at=at,
        )
        request = Request(
            feature_id=when.feature_id, quantity=when.quantity, entity_id=when.entity_id, context=when.context
        )
        levels = _levels(right, case)
        seen.add(decide.ask(self._engine, right, request, levels))
        decision = decide.decide(
            self._engine,
            right,
            request,
            levels,
            now=at,
            decision_id="dec_test",
            catalog_hash=self._catalog.hash,
        )
        reason = decision.reasons[0]
        return Result(
            name=case.name,
            source=case.source,
            differences=tuple(_differences(case.expect, decision, right)),
            message=decision.message,
            policy_id=reason.policy_id,
            decided_at=reason.source,
        )


def snapshot(catalog: Catalog, given: Given, at: datetime) -> Snapshot:
    """All that is stored of the tenant that a case describes."""
    begun = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    held = () if given.plan_id is None else (_subscription(catalog, given, given.plan_id, begun, at),)
    return Snapshot(
        tenant_id=_TENANT,
        version=1,
        known=True,
        subscriptions=held,
        metadata=given.metadata,
        grants=tuple(_grants(given, begun)),
        overrides=tuple(_overrides(given, begun)),
    )


def _subscription(
    catalog: Catalog, given: Given, plan_id: str, begun: datetime, at: datetime
) -> Subscription:
    addons = tuple(
        HeldAddon(addon_id=addon_id, addon_version=catalog.addons[addon_id].version, quantity=times)
        for addon_id, times in sorted(given.addons.items())
    )
    version = catalog.plans[plan_id].version
    return Subscription(
        id="sub_test",
        anchored_at=begun,
        created_at=begun,
        trial_ends_at=at + timedelta(days=1) if given.trial else None,
        phases=(Phase(plan_id=plan_id, plan_version=version, start=begun, addons=addons),),
        billing=(BillingFact(status=given.billing_status, since=begun),),
    )


def _grants(given: Given, begun: datetime) -> Iterator[Grant]:
    for number, grant in enumerate(given.grants, start=1):
        effective_at = grant.effective_at or begun - _LONG
        yield Grant(
            id=f"grant-{number}",
            feature_id=grant.feature_id,
            quantity=grant.quantity,
            priority=grant.priority,
            effective_at=effective_at,
            expires_at=grant.expires_at,
            created_at=effective_at,
        )


def _overrides(given: Given, begun: datetime) -> Iterator[Override]:
    for feature_id, said in given.overrides.items():
        yield Override(
            id=f"override-{feature_id}",
            feature_id=feature_id,
            included=said.included,
            up_to=said.up_to,
            value=said.value,
            reason="a table test",
            starts_at=begun,
        )


def _levels(right: Right, case: TableCase) -> Levels:
    """The counters: what was used in the period from bucket to bucket, and what each cap's window holds."""
    given, feature_id = case.given, case.when.feature_id
    carried = tuple(filter(None, (given.rollover.get(feature_id),)))
    room = balance.capacity(
        right.terms,
        overage=right.has_overage,
        grants=right.grants,
        before=right.grants_before,
        carried=[(size, _before_carried(right)) for size in carried],
    )
    drawn = balance.draw(room, Levels(), given.usage.get(feature_id, 0))
    caps = right.terms.caps if isinstance(right.terms, MeteredTerms) else ()
    of_tenant = given.cap_usage.get(feature_id, {})
    of_entity = given.entity_usage.get(case.when.entity_id or "", {}).get(feature_id, {})
    return Levels(
        included=drawn.included,
        overage=drawn.overage,
        excess=drawn.excess,
        grants=drawn.grants,
        rollover=drawn.rollover,
        carried=carried,
        caps=tuple((of_entity if cap.per == "entity" else of_tenant).get(cap.interval, 0) for cap in caps),
    )


def _before_carried(right: Right) -> int:
    """How many of the grants are drawn before what the period before carried."""
    assert right.period is not None, "only a metered feature carries"
    return grants.before(right.grants, rollover.PRIORITY, right.period, rollover.name(1))


def _differences(expect: Expect, decision: Decision, right: Right) -> Iterator[Difference]:
    for field, expected, got in _compared(expect, decision, right):
        if expected is not None and expected != got:
            yield Difference(field=field, expected=expected, got=got)
    if expect.message is not None and expect.message not in decision.message:
        yield Difference(field="message", expected=f'with "{expect.message}"', got=f'"{decision.message}"')


def _compared(expect: Expect, decision: Decision, right: Right) -> Iterator[tuple[str, str | None, str]]:
    """Field, what is expected of it (None: it is not compared), and what it is, as people read them."""
    feature = right.feature
    yield "allowed", str(expect.allowed).lower(), str(decision.allowed).lower()
    yield "reason", expect.reason, decision.reason
    yield "outcome", expect.outcome, decision.outcome
    for field, expected, got in (
        ("remaining", expect.remaining, decision.remaining),
        ("limit", expect.limit, decision.limit),
        ("granted", expect.granted, decision.granted),
    ):
        open_ended = "unlimited" if decision.unlimited or right.terms is not None else "none"
        yield field, _word(expected, feature), open_ended if got is None else _grouped(got)
    terms = right.terms
    value = terms.value if isinstance(terms, StaticTerms) else None
    yield "value", _word(expect.value, feature), _word(value, feature) or "none"
    yield "policyId", expect.policy_id, decision.reasons[0].policy_id or "none"


def _word(said: int | str | None, feature: Feature | None) -> str | None:
    """A scaled number as people read it; all else as it is."""
    return quantity.human(said, feature.decimals if feature else 0) if isinstance(said, int) else said


def _grouped(number: int | str) -> str:
    """A number of the wire as `quantity.human` writes it."""
    whole, point, digits = str(number).partition(".")
    return f"{int(whole):,}{point}{digits}"
