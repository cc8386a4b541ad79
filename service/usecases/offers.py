"""What the active catalog sells: plans and add-ons by their ids."""

import difflib
from collections.abc import Mapping, Sequence

import msgspec

from policies import addon, errors
from policies.model import Catalog, PlanVersion
from service.context import Context


class AddonWish(msgspec.Struct, frozen=True, kw_only=True):
    """An add-on by its id, so many times."""

    addon_id: str
    quantity: int = 1


def plan(context: Context, plan_id: str) -> PlanVersion:
    """The version of a plan that the active catalog sells.

    Errors: ConflictError without a catalog, InvalidError for a plan that it does not have.
    """
    plans = _catalog(context).plans
    if plan_id not in plans:
        raise errors.invalid(
            "/planId", f'The active catalog has no plan "{plan_id}".{_meant(plan_id, plans)}'
        )
    return plans[plan_id]


def addons(context: Context, wishes: Sequence[AddonWish]) -> list[addon.Wanted]:
    """The versions of add-ons that the active catalog sells.

    Errors: ConflictError without a catalog, InvalidError naming every add-on that it does not have.
    """
    if not wishes:
        return []
    sold = _catalog(context).addons
    unknown = tuple(
        errors.FieldError(
            f"/addons/{place}/addonId",
            f'The active catalog has no add-on "{wish.addon_id}".{_meant(wish.addon_id, sold)}',
        )
        for place, wish in enumerate(wishes)
        if wish.addon_id not in sold
    )
    if unknown:
        raise errors.InvalidError(unknown[0].message, errors=unknown)
    return [addon.Wanted(sold[wish.addon_id], wish.quantity) for wish in wishes]


def _catalog(context: Context) -> Catalog:
    if context.catalogs.active is None:
        raise errors.ConflictError("No catalog is active, so there is no plan to subscribe to; publish one.")
    return context.catalogs.active


def _meant(said: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(said, known, n=1)
    return f' Did you mean "{near[0]}"?' if near else f" There are: {', '.join(sorted(known)) or 'none'}."
