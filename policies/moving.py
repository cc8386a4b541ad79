"""Moving a subscription to other versions of what it has: the same plan and add-ons of another catalog.

Unlike a change that a tenant asks for, a move keeps what is scheduled: an end stays, a change to another plan
stays, and a scheduled phase on the plan that moves is moved too. Anchor, periods and trial stay (R16).
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

import msgspec

from policies import addon, subscription
from policies.errors import ConflictError
from policies.model import AddonVersion, PlanVersion, Versions
from policies.subscription import Phase, Subscription


class Targets(msgspec.Struct, frozen=True, kw_only=True):
    """Versions to move to, by the id of the plan or the add-on."""

    plans: Mapping[str, PlanVersion] = {}
    addons: Mapping[str, AddonVersion] = {}


def move(
    held: Subscription, targets: Targets, versions: Versions, *, at_effective: datetime, now: datetime
) -> Subscription:
    """From an instant on with the target versions; the very same subscription if it has them already.

    `versions` has what the subscription holds beside them.
    Errors: ConflictError, with a sentence, where the move cannot be; nothing has changed.
    """
    assert at_effective >= now
    subscription.permit(held, "change", now)
    phases: list[Phase] = []
    for phase in held.phases:
        new = _swapped(phase, targets)
        if new == phase or _over(phase, at_effective):
            phases.append(phase)
            continue
        _refuse_unfit(new, targets, versions)
        if phase.start < at_effective:
            phases.append(msgspec.structs.replace(phase, end=at_effective))
            new = msgspec.structs.replace(new, start=at_effective)
        phases.append(new)
    moved = msgspec.structs.replace(held, phases=_joined(phases, at_effective))
    if moved == held:
        _refuse_missed(held, targets, now)
    return moved


def _swapped(phase: Phase, targets: Targets) -> Phase:
    plan = targets.plans.get(phase.plan_id)
    addons = tuple(
        msgspec.structs.replace(one, addon_version=targets.addons[one.addon_id].version)
        if one.addon_id in targets.addons
        else one
        for one in phase.addons
    )
    return msgspec.structs.replace(
        phase, plan_version=plan.version if plan else phase.plan_version, addons=addons
    )


def _has(phase: Phase, targets: Targets) -> bool:
    """Is it of something that moves, and in the target's version already?"""
    concerned = phase.plan_id in targets.plans or any(one.addon_id in targets.addons for one in phase.addons)
    return concerned and _swapped(phase, targets) == phase


def _over(phase: Phase, at: datetime) -> bool:
    return phase.end is not None and phase.end <= at


def _refuse_unfit(phase: Phase, targets: Targets, versions: Versions) -> None:
    """An add-on whose new version is not sold with the tenant's plan any more cannot move beside it."""
    sold = [targets.addons.get(one.addon_id) or versions.addons[one.addon_version] for one in phase.addons]
    unfit = addon.unfit(phase.plan_id, sold)
    if unfit:
        raise ConflictError(f'The plan "{phase.plan_id}" is not sold with {", ".join(unfit)} any more.')


def _refuse_missed(held: Subscription, targets: Targets, now: datetime) -> None:
    """Nothing was moved: because it has been, or because what would move ends before."""
    present = subscription.phase_at(held, now)
    if present is None or _swapped(present, targets) == present:
        return
    if any(phase.start > now and _has(phase, targets) for phase in held.phases):
        return
    assert present.end is not None
    following = next((phase for phase in held.phases if phase.start == present.end), None)
    ends = f"{present.end:%Y-%m-%d %H:%M:%S} UTC"
    raise ConflictError(
        f"The subscription ends on {ends}, before its renewal."
        if following is None
        else f"A change to {following.plan_id} is scheduled on {ends}; there is no renewal before it."
    )


def _joined(phases: Iterable[Phase], at: datetime) -> tuple[Phase, ...]:
    """Without an edge to come at which nothing changes."""
    joined: list[Phase] = []
    for phase in phases:
        last = joined[-1] if joined else None
        if last is not None and phase.start > at and _says(last) == _says(phase):
            joined[-1] = msgspec.structs.replace(last, end=phase.end)
        else:
            joined.append(phase)
    return tuple(joined)


def _says(phase: Phase) -> Collection[object]:
    return (phase.plan_id, phase.plan_version, phase.addons)
