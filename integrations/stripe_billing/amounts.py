"""How Stripe writes an amount: in minor units that are not everywhere those of ISO 4217.

Source: Stripe's page on supported currencies, "zero-decimal", "three-decimal" and "special cases".
"""

from typing import Final

from policies import money
from policies.rating.settle import Payable

_HUNDREDFOLD: Final = frozenset({"isk", "ugx"})
"""Without a minor unit, but written as if they had one of two digits."""
_WITHOUT: Final = frozenset({"mga"})
"""With a minor unit that Stripe does not know."""
_THREE: Final = 3
"""Digits after the point of currencies that Stripe writes with three, the last of which is 0."""
_LEAST: Final = {
    "aed": 200, "aud": 50, "brl": 50, "cad": 50, "chf": 50, "czk": 1500, "dkk": 250, "eur": 50, "gbp": 30,
    "hkd": 400, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000, "myr": 200, "nok": 300, "nzd": 50,
    "pln": 200, "ron": 200, "sek": 300, "sgd": 50, "thb": 1000, "usd": 50,
}  # fmt: skip
"""What Stripe asks for at least where an account is settled in the same currency, as it publishes them."""
_WEAK: Final = {
    "all": 9_000, "amd": 40_000, "ars": 150_000, "bdt": 12_500, "bif": 3_500, "clp": 1_000, "cop": 450_000,
    "crc": 55_000, "djf": 200, "dop": 6_500, "dzd": 14_000, "egp": 5_500, "etb": 15_000, "gnf": 10_000,
    "gyd": 22_000, "htg": 14_000, "idr": 1_700_000, "isk": 150, "jmd": 17_000, "kes": 14_000, "khr": 420_000,
    "kmf": 500, "krw": 1_500, "kzt": 55_000, "lak": 2_300_000, "lbp": 9_500_000, "lkr": 32_000,
    "lrd": 20_000, "mga": 470_000, "mmk": 220_000, "mnt": 360_000, "mur": 5_000, "mwk": 180_000,
    "mzn": 6_500, "ngn": 170_000, "npr": 14_500, "php": 6_000, "pkr": 29_000, "pyg": 8_000, "rsd": 11_500,
    "rub": 10_000, "rwf": 1_500, "sll": 2_400_000, "sos": 58_000, "try": 4_500, "twd": 3_500, "tzs": 280_000,
    "uah": 4_500, "ugx": 4_000, "uyu": 4_500, "uzs": 1_300_000, "vnd": 27_000, "vuv": 130, "xaf": 650,
    "xof": 650, "xpf": 120, "yer": 25_000, "zar": 2_000, "zmw": 3_000,
}  # fmt: skip
"""Ours, of currencies of which half a unit is worth far less than what is asked for: about a US dollar."""


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
    if minor % _step(currency):
        raise AmountError(f"Amounts of {currency.upper()} are to end in 0 here, and {minor} does not.")
    return minor


def inward(minor: int, currency: str) -> int:
    """An amount of Stripe's as ours."""
    if currency in _HUNDREDFOLD:
        return minor // 100
    if currency in _WITHOUT:
        return minor * _unit(currency)
    return minor


def payable(currency: str) -> Payable:
    """What can be paid; of a currency that is in no table at least half of its major unit.

    This is the only place that knows: a close carries over what is less, or no whole step.
    """
    least = _LEAST.get(currency) or _WEAK.get(currency) or max(1, _unit(currency) // 2)
    return Payable(least=least, step=_step(currency))


def _step(currency: str) -> int:
    """In which steps of our minor unit amounts are written."""
    if currency in _WITHOUT:
        return _unit(currency)
    return 10 if money.DIGITS.get(currency) == _THREE else 1


def _unit(currency: str) -> int:
    """How many minor units make a major one."""
    return int(10 ** money.DIGITS.get(currency, 2))
