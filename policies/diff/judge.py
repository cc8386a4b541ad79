"""Is a change better or worse for who is subscribed? What may be worse for somebody counts as worse."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final

from policies.diff.change import Effect
from policies.model import BillingInterval, Interval, Overage

Judge = Callable[[object, object], Effect]

LENGTH: Final[dict[Interval, int]] = {"hour": 0, "day": 1, "week": 2, "month": 3, "year": 4, "never": 5}
"""Which usage interval is longer: one number has to last the longer one."""
_A_YEAR: Final[dict[BillingInterval, int]] = {"day": 365, "week": 52, "month": 12, "year": 1}


def neutral(_before: object, _after: object) -> Effect:
    """It changes nothing for those subscribed, or nobody can say which way."""
    return "neutral"


def worse(_before: object, _after: object) -> Effect:
    """It may be worse for somebody."""
    return "worse"


def more(before: object, after: object) -> Effect:
    """Of whole numbers the larger is better, and None, which is no bound at all, is best."""
    return _ordered(_height(after), _height(before))


def less(before: object, after: object) -> Effect:
    """Of amounts of money the smaller is better; None is nothing to pay."""
    return _ordered(_amount(before), _amount(after))


def by_rank(ranks: Sequence[object]) -> Judge:
    """Of values that are listed from worst to best the later is better."""

    def judged(before: object, after: object) -> Effect:
        if before not in ranks or after not in ranks:
            return "worse"
        return _ordered(ranks.index(after), ranks.index(before))

    return judged


def members(before: object, after: object) -> Effect:
    """Of lists the one that takes nothing away is better."""
    assert isinstance(before, tuple)
    assert isinstance(after, tuple)
    return "worse" if set(before) - set(after) else "better" if set(after) - set(before) else "neutral"


def price(before: tuple[str, str, BillingInterval], after: tuple[str, str, BillingInterval]) -> Effect:
    """Amount, currency and interval: by what a year costs; another currency compares with nothing."""
    if before[1] != after[1]:
        return "worse"
    return _ordered(Decimal(before[0]) * _A_YEAR[before[2]], Decimal(after[0]) * _A_YEAR[after[2]])


def overage_price(before: Overage, after: Overage) -> Effect:
    """Better only if no quantity costs more than before; another model is not compared."""
    if before.model != after.model:
        return "worse"
    if before.model == "perUnit":
        return less(before.unit_amount, after.unit_amount)
    if before.model == "package":
        effects = {less(before.amount, after.amount), more(before.size, after.size)}
        return "worse" if "worse" in effects else "better" if "better" in effects else "neutral"
    if [tier.up_to for tier in before.tiers] != [tier.up_to for tier in after.tiers]:
        return "worse"
    each = {
        effect
        for old, new in zip(before.tiers, after.tiers, strict=True)
        for effect in (less(old.unit_amount, new.unit_amount), less(old.flat_amount, new.flat_amount))
    }
    return "worse" if "worse" in each else "better" if "better" in each else "neutral"


def _ordered(better: Decimal | float, worse_of: Decimal | float) -> Effect:
    """Better if the first is the larger of the two."""
    return "better" if better > worse_of else "worse" if better < worse_of else "neutral"


def _height(value: object) -> float | int:
    return value if isinstance(value, int) else float("inf")


def _amount(value: object) -> Decimal:
    return Decimal(str(value)) if value is not None else Decimal(0)
