"""Which add-ons may be held beside a plan, how many times, and what that may come to."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from policies import limits
from policies.errors import ConflictError, FieldError, InvalidError
from policies.model import AddonVersion, MeteredTerms, PlanVersion, StaticTerms, Terms
from policies.subscription import HeldAddon

_POINTER: Final = "/addons"


class Wanted(msgspec.Struct, frozen=True):
    """One add-on as somebody asks for it."""

    addon: AddonVersion
    quantity: int = 1


def hold(plan: PlanVersion, wanted: Sequence[Wanted]) -> tuple[HeldAddon, ...]:
    """What a phase on this plan holds, by add-on id.

    Errors: InvalidError naming every add-on that cannot be held, by its place among those wanted.
    """
    times = Counter(want.addon.addon_id for want in wanted)
    found = [
        FieldError(f"{_POINTER}/{place}/{field}", message)
        for place, want in enumerate(wanted)
        for field, message in _refusals(plan, want, times[want.addon.addon_id])
    ]
    if len(wanted) > limits.ADDONS:
        found.append(FieldError(_POINTER, f"One subscription holds at most {limits.ADDONS} add-ons."))
    found = found or _together(wanted)
    if found:
        raise InvalidError(found[0].message, errors=tuple(found))
    held = [
        HeldAddon(addon_id=want.addon.addon_id, addon_version=want.addon.version, quantity=want.quantity)
        for want in wanted
    ]
    return tuple(sorted(held, key=lambda one: one.addon_id))


def keep(plan: PlanVersion, held: Sequence[HeldAddon], versions: Sequence[AddonVersion]) -> None:
    """Whether what is held may stay beside another plan; `versions` are those of `held`, in any order.

    Errors: ConflictError naming what does not fit.
    """
    by_version = {addon.version: addon for addon in versions}
    wrong = unfit(plan.plan_id, [by_version[one.addon_version] for one in held])
    if wrong:
        raise ConflictError(
            f'The plan "{plan.plan_id}" is not sold with what the tenant holds: {", ".join(wrong)}. '
            "Say in `addons` which add-ons it has from then on; an empty list drops them all."
        )


def unfit(plan_id: str, addons: Iterable[AddonVersion]) -> list[str]:
    """The add-ons that may not be held beside a plan, in quotes."""
    return [f'"{addon.addon_id}"' for addon in addons if plan_id not in addon.plans]


def _refusals(plan: PlanVersion, want: Wanted, times: int) -> list[tuple[str, str]]:
    addon, found = want.addon, list[tuple[str, str]]()
    if plan.plan_id not in addon.plans:
        sold = ", ".join(addon.plans)
        message = (
            f'The add-on "{addon.addon_id}" is not sold with the plan "{plan.plan_id}", but with: {sold}.'
        )
        found.append(("addonId", message))
    if times > 1:
        found.append(("addonId", f'The add-on "{addon.addon_id}" is named twice; give its quantity once.'))
    if not 1 <= want.quantity <= limits.ADDON_QUANTITY:
        found.append(("quantity", f"An add-on is held 1 to {limits.ADDON_QUANTITY:,} times."))
    return found


def _together(wanted: Sequence[Wanted]) -> list[FieldError]:
    """What add-ons give of one feature is one quantity, and bounded as one (limits.QUANTITY_MAX)."""
    sums: Counter[str] = Counter()
    for want in wanted:
        for feature_id, terms in want.addon.terms.items():
            sums[feature_id] += _amount(terms) * want.quantity
    return [
        FieldError(_POINTER, f"Together these add-ons give more {feature_id} than one quantity may be.")
        for feature_id, total in sums.items()
        if total > limits.QUANTITY_MAX
    ]


def _amount(terms: Terms) -> int:
    if isinstance(terms, MeteredTerms):
        return terms.included or 0
    return terms.value if isinstance(terms, StaticTerms) and isinstance(terms.value, int) else 0
