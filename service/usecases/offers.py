"""What the active catalog sells: plans and add-ons by their ids."""

import difflib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from policies import addon, errors
from policies.model import Offer, PlanVersion
from service.context import Context


class AddonWish(msgspec.Struct, frozen=True, kw_only=True):
    """An add-on by its id, so many times."""

    addon_id: str
    quantity: int = 1


async def know(context: Context, plan_ids: Iterable[str], wishes: Sequence[AddonWish] = ()) -> None:
    """Reads the bodies of what is sold beforehand: no transaction waits for a second connection."""
    if context.catalogs.active is not None:
        plans, sold = context.catalogs.active.plans, context.catalogs.active.addons
        await context.catalogs.need(
            [plans[plan_id] for plan_id in plan_ids if plan_id in plans],
            [sold[wish.addon_id] for wish in wishes if wish.addon_id in sold],
        )


async def plan(context: Context, plan_id: str) -> PlanVersion:
    """The version of a plan that the active catalog sells.

    Errors: ConflictError without a catalog, InvalidError for a plan that it does not have.
    """
    plans = _offer(context).plans
    if plan_id not in plans:
        raise errors.invalid("/planId", f'The active catalog has no plan "{plan_id}".{meant(plan_id, plans)}')
    return (await context.catalogs.need([plans[plan_id]])).plans[plans[plan_id]]


async def addons(context: Context, wishes: Sequence[AddonWish]) -> list[addon.Wanted]:
    """The versions of add-ons that the active catalog sells.

    Errors: ConflictError without a catalog, InvalidError naming every add-on that it does not have.
    """
    if not wishes:
        return []
    sold = _offer(context).addons
    unknown = tuple(
        errors.FieldError(
            f"/addons/{place}/addonId",
            f'The active catalog has no add-on "{wish.addon_id}".{meant(wish.addon_id, sold)}',
        )
        for place, wish in enumerate(wishes)
        if wish.addon_id not in sold
    )
    if unknown:
        raise errors.InvalidError(unknown[0].message, errors=unknown)
    known = (await context.catalogs.need((), [sold[wish.addon_id] for wish in wishes])).addons
    return [addon.Wanted(known[sold[wish.addon_id]], wish.quantity) for wish in wishes]


def _offer(context: Context) -> Offer:
    if context.catalogs.active is None:
        raise errors.ConflictError("No catalog is active, so there is no plan to subscribe to; publish one.")
    return context.catalogs.active


def meant(said: str, known: Mapping[str, object]) -> str:
    """How a sentence about an unknown id ends: which may have been meant, or which there are."""
    near = difflib.get_close_matches(said, known, n=1)
    return f' Did you mean "{near[0]}"?' if near else f" There are: {', '.join(sorted(known)) or 'none'}."
