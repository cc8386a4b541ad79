"""What is an amount of money worth in minor units, exactly, and how is it rounded and written?

Inside, money is an integer of the currency's smallest unit (law 13): 4900 of usd, 5000 of jpy, 1500 of kwd.
Plan files write decimal texts in major units. Between the two stands a fraction, so that nothing is lost
before the one rounding that a line of a bill has.
"""

from fractions import Fraction
from typing import Final

# ISO 4217, list one (current currencies and funds), as published on 2026-01-01: codes by how many digits
# after the point their minor unit makes. Metals, test codes and units of account have none: left out.
_BY_DIGITS: Final = {
    0: "bif clp djf gnf isk jpy kmf krw pyg rwf ugx uyi vnd vuv xaf xof xpf",
    2: """
        aed afn all amd aoa ars aud awg azn bam bbd bdt bmd bnd bob bov brl bsd btn bwp byn bzd cad cdf
        che chf chw cny cop cou crc cup cve czk dkk dop dzd egp ern etb eur fjd fkp gbp gel ghs gip gmd
        gtq gyd hkd hnl htg huf idr ils inr irr jmd kes kgs khr kpw kyd kzt lak lbp lkr lrd lsl mad mdl
        mga mkd mmk mnt mop mru mur mvr mwk mxn mxv myr mzn nad ngn nio nok npr nzd pab pen pgk php pkr
        pln qar ron rsd rub sar sbd scr sdg sek sgd shp sle sos srd ssp stn svc syp szl thb tjs tmt top
        try ttd twd tzs uah usd usn uyu uzs ved ves wst xad xcd xcg yer zar zmw zwg
    """,
    3: "bhd iqd jod kwd lyd omr tnd",
    4: "clf uyw",
}
DIGITS: Final = {code: digits for digits, codes in _BY_DIGITS.items() for code in codes.split()}
"""Digits after the point of every currency that a plan may have; a plan with another is not compiled."""


def exact(amount: str, currency: str) -> Fraction:
    """A decimal text in major units as minor units, of which there may be parts: 0.000010 usd is 1/1000."""
    return Fraction(amount) * Fraction(10 ** DIGITS[currency])


def rounded(minor: Fraction) -> int:
    """Whole minor units; what lies half way goes to the even one, so that many halves favour nobody."""
    return round(minor)


def written(minor: int, currency: str) -> str:
    """As a decimal text in major units, with all digits of the currency: `49.00`, `500`, `1.500`."""
    digits = DIGITS[currency]
    whole, rest = divmod(abs(minor), 10**digits)
    sign = "-" if minor < 0 else ""
    return f"{sign}{whole}" + (f".{rest:0{digits}d}" if digits else "")


def human(minor: int, currency: str) -> str:
    """For a sentence, with thousands set apart and the code: `1,234.50 USD`."""
    whole, point, rest = written(abs(minor), currency).partition(".")
    return f"{'-' if minor < 0 else ''}{int(whole):,}{point}{rest} {currency.upper()}"


def priced(amount: str, currency: str) -> str:
    """A price of a plan file for a sentence: with the digits of its currency, and more where it has more."""
    whole, _, rest = amount.partition(".")
    rest = rest.ljust(DIGITS.get(currency, 0), "0")
    return f"{int(whole):,}" + (f".{rest}" if rest else "")
