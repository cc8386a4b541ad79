"""How Stripe writes an amount: in minor units that are not everywhere those of ISO 4217.

Source: Stripe's page on supported currencies, "zero-decimal", "three-decimal" and "special cases".
"""

from typing import Final

from policies import money

_HUNDREDFOLD: Final = frozenset({"isk", "ugx"})
"""Without a minor unit, but written as if they had one of two digits."""
_WITHOUT: Final = frozenset({"mga"})
"""With a minor unit that Stripe does not know."""
_LEAST: Final = {
    "aed": 200, "aud": 50, "brl": 50, "cad": 50, "chf": 50, "czk": 1500, "dkk": 250, "eur": 50, "gbp": 30,
    "hkd": 400, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000, "myr": 200, "nok": 300, "nzd": 50,
    "pln": 200, "ron": 200, "sek": 300, "sgd": 50, "thb": 1000, "usd": 50,
}  # fmt: skip


class AmountError(ValueError):
    """An amount that cannot be written for Stripe."""


def outward(minor: int, currency: str) -> int:
    """An amount of ours as Stripe takes it.

    Errors: AmountError.
    """
    if currency in _HUNDREDFOLD:
        return minor * 100
    if currency in _WITHOUT:
        whole, rest = divmod(minor, _unit(currency))
        if rest:
            raise AmountError(f"{currency.upper()} has no minor unit here, and {minor} is not whole.")
        return whole
    if money.DIGITS.get(currency) == 3 and minor % 10:  # noqa: PLR2004 - digits after the point
        raise AmountError(f"Amounts of {currency.upper()} are to end in 0 here, and {minor} does not.")
    return minor


def inward(minor: int, currency: str) -> int:
    """An amount of Stripe's as ours."""
    if currency in _HUNDREDFOLD:
        return minor // 100
    if currency in _WITHOUT:
        return minor * _unit(currency)
    return minor


def least(currency: str) -> int:
    """The smallest amount that can be paid; of a currency that is not in the table half of its major unit."""
    if currency in _LEAST:
        return _LEAST[currency]
    return max(1, _unit(currency) // 2)


def _unit(currency: str) -> int:
    """How many minor units make a major one."""
    return int(10 ** money.DIGITS.get(currency, 2))
