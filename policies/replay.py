"""What would have been answered differently, had every tenant been on the plans of another catalog?

Each logged decision is decided again on its facts and its levels, with the catalog's version of the plan and
of the add-ons that the tenant had. A tenant whose plan it does not have is on none then. What the log
does not know (usage of another period, of a cap that is new, metadata that no guard read) is counted as
unsure, never guessed.
"""

from collections import Counter
from datetime import datetime
from typing import Final, Literal

import msgspec

from policies import entitlement, errors, limits, logged, model, quantity, subscription
from policies.decision import Decision
from policies.engine import Engine
from policies.entitlement import Right
from policies.logged import Answered, Logged, Unlike
from policies.model import Catalog, Noun, Offer
from policies.snapshot import Snapshot
from policies.subscription import Phase

Direction = Literal["denied", "allowed", "reason"]
"""What an answer becomes; `reason`: as before, for another reason."""


_UNDECIDED: Final = Unlike("it was answered without counters, or Cedar could not decide")


class Example(Noun, frozen=True, kw_only=True, omit_defaults=False):
    """One decision that comes out differently, in a sentence."""

    decision_id: str
    message: str


class Change(Noun, frozen=True, kw_only=True, omit_defaults=False):
    """Decisions of one plan and feature that come out differently in the same way."""

    direction: Direction
    plan_id: str | None
    """The plan that decided then."""
    feature_id: str
    before: str
    after: str
    """The reasons."""
    decisions: int
    """How many answers they stand for, sampled allows weighted."""
    logged: int
    """How many were run."""
    examples: tuple[Example, ...]


class Touched(Noun, frozen=True, kw_only=True, omit_defaults=False):
    """A tenant, and how many of its answers turn to denied and to allowed, weighted."""

    tenant_id: str
    denied: int
    allowed: int


class Unsure(Noun, frozen=True, kw_only=True, omit_defaults=False):
    """Decisions that cannot be run with this catalog, and why."""

    message: str
    decisions: int


class Report(Noun, frozen=True, kw_only=True, omit_defaults=False):
    """What a replay came to. Numbers are answers: a sampled allow counts as many as it stands for."""

    run: int
    """Logged decisions that were run, each once."""
    decisions: int
    same: int
    to_denied: int
    to_allowed: int
    other_reason: int
    changes: tuple[Change, ...]
    """Those to denied first, the most frequent first."""
    tenants: tuple[Touched, ...]
    """Those with the most denials first; at most limits.REPLAY_TENANTS."""
    tenants_touched: int
    unsure: tuple[Unsure, ...]


class _Kind(msgspec.Struct, frozen=True):
    direction: Direction
    plan_id: str | None
    feature_id: str
    before: str
    after: str


class Replay:
    """One replay: decisions go in one by one, in any order; the report comes out."""

    def __init__(self, catalog: Catalog) -> None:
        self._offer, self._versions = model.offer(catalog), model.versions(catalog)
        self._engine = Engine()
        self._run = 0
        self._same = 0
        self._decisions: Counter[_Kind] = Counter()
        self._logged: Counter[_Kind] = Counter()
        self._examples: dict[_Kind, list[Example]] = {}
        self._tenants: dict[Direction, Counter[str]] = {
            "denied": Counter(), "allowed": Counter(), "reason": Counter(),
        }  # fmt: skip
        self._unsure: Counter[str] = Counter()

    def add(self, one: Logged) -> None:
        """Runs a decision and counts what came of it."""
        self._run += 1
        found = self._decided(one)
        if isinstance(found, Unlike):
            self._unsure[found.message] += one.weight
            return
        kind = _kind(one, logged.answered(found))
        if kind is None:
            self._same += one.weight
            return
        self._decisions[kind] += one.weight
        self._logged[kind] += 1
        self._tenants[kind.direction][one.tenant_id] += one.weight
        shown = self._examples.setdefault(kind, [])
        if len(shown) < limits.REPLAY_EXAMPLES:
            shown.append(Example(decision_id=one.decision_id, message=self._sentence(one, found)))

    def report(self) -> Report:
        """All that was counted."""
        changes = [self._change(kind) for kind in self._decisions]
        total: Counter[Direction] = Counter()
        for change in changes:
            total[change.direction] += change.decisions
        denied, allowed = self._tenants["denied"], self._tenants["allowed"]
        touched = sorted(denied.keys() | allowed.keys(), key=lambda one: (-denied[one], -allowed[one], one))
        return Report(
            run=self._run,
            decisions=self._same + total.total() + self._unsure.total(),
            same=self._same,
            to_denied=total["denied"],
            to_allowed=total["allowed"],
            other_reason=total["reason"],
            changes=tuple(sorted(changes, key=_urgency)),
            tenants=tuple(
                Touched(tenant_id=one, denied=denied[one], allowed=allowed[one])
                for one in touched[: limits.REPLAY_TENANTS]
            ),
            tenants_touched=len(touched),
            unsure=tuple(
                Unsure(message=message, decisions=count) for message, count in self._unsure.most_common()
            ),
        )

    def _decided(self, one: Logged) -> Decision | Unlike:
        if one.answer.outcome == "indeterminate":
            return _UNDECIDED
        snapshot = moved(one.facts.snapshot, self._offer, one.as_of)
        right = entitlement.resolve(
            snapshot, offer=self._offer, versions=self._versions, feature_id=one.feature_id, at=one.as_of
        )
        if (unread := _unread(one, right)) is not None:
            return unread
        try:
            found = logged.run(self._engine, one, right, catalog_hash=self._offer.hash)
        except errors.InvalidError:
            return Unlike(f"its context has a key that {one.feature_id} does not take")
        return _UNDECIDED if isinstance(found, Decision) and found.outcome == "indeterminate" else found

    def _sentence(self, one: Logged, found: Decision) -> str:
        feature = self._offer.features.get(one.feature_id)
        asked = quantity.render(one.quantity, feature.decimals if feature else 0)
        before, after = one.answer, logged.answered(found)
        gone = ""
        if one.facts.plan_id is not None and one.facts.plan_id not in self._offer.plans:
            gone = f' The plan "{one.facts.plan_id}" is not in this catalog.'
        return (
            f"{one.tenant_id} asked for {asked} of {one.feature_id} at {one.as_of:%Y-%m-%d %H:%M:%S} UTC: "
            f"{_word(before)} then ({before.reason}), {_word(after)} with these plans: "
            f"{found.message.rstrip('.')}.{gone}"
        )

    def _change(self, kind: _Kind) -> Change:
        return Change(
            **msgspec.structs.asdict(kind),
            decisions=self._decisions[kind],
            logged=self._logged[kind],
            examples=tuple(self._examples[kind]),
        )


def moved(snapshot: Snapshot, offer: Offer, at: datetime) -> Snapshot:
    """The tenant as if every plan and add-on that it has were this catalog's.

    Add-ons that the catalog does not have are gone; a tenant whose plan is gone has no subscription.
    """
    held = snapshot.stood_on(at)
    if held is None:
        return snapshot
    standing = subscription.phase_at(held, at)
    falls_back = standing is None and offer.fallback_plan is not None and not snapshot.closed
    if not falls_back and (standing or held.phases[-1]).plan_id not in offer.plans:
        return msgspec.structs.replace(snapshot, subscriptions=())
    phases = tuple(_on(each, offer) for each in held.phases if falls_back or each.plan_id in offer.plans)
    return msgspec.structs.replace(snapshot, subscriptions=(msgspec.structs.replace(held, phases=phases),))


def _on(phase: Phase, offer: Offer) -> Phase:
    """A phase on this catalog; one whose plan is gone and that is over stands on the fallback plan."""
    version = offer.plans.get(phase.plan_id, offer.fallback_plan)
    assert version is not None, "a phase without a plan was left out"
    return msgspec.structs.replace(
        phase,
        plan_version=version,
        addons=tuple(
            msgspec.structs.replace(addon, addon_version=offer.addons[addon.addon_id])
            for addon in phase.addons
            if addon.addon_id in offer.addons
        ),
    )


def _unread(one: Logged, right: Right) -> Unlike | None:
    """What a guard of the catalog would read and the log does not have."""
    for guard in right.guards:
        for tag in guard.tags:
            if tag not in one.facts.tags:
                return Unlike(f'the guard "{guard.id}" reads the metadata "{tag}", which was not logged')
    return None


def _kind(one: Logged, after: Answered) -> _Kind | None:
    """How an answer changes; None if it does not."""
    before = one.answer
    if before.allowed == after.allowed and before.reason == after.reason:
        return None
    direction: Direction = "reason"
    if before.allowed != after.allowed:
        direction = "allowed" if after.allowed else "denied"
    return _Kind(direction, one.facts.plan_id, one.feature_id, before.reason, after.reason)


def _word(answer: Answered) -> str:
    return "allowed" if answer.allowed else "denied"


def _urgency(change: Change) -> tuple[int, int, str, str]:
    order = ("denied", "allowed", "reason").index(change.direction)
    return (order, -change.decisions, change.plan_id or "", change.feature_id)
