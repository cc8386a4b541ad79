"""What overage of a closed period is invoiced by now, as it is kept; and what later usage adjusts of it.

An adjustment rates the whole period anew with what is known by now, and takes off line by line what was
charged for it. So all invoices of a period together come to what rating all of its usage at once would, with
one rounding a line, however late and in however many parts it came.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

import msgspec

from policies.model import Feature, Noun, Overage
from policies.period import Period
from policies.rating import overage
from policies.rating.lines import Line
from policies.rating.overage import Use


class Sold(Noun, frozen=True, kw_only=True):
    """A feature at one price."""

    feature: Feature
    plan_version: str
    currency: str
    overage: Overage
    windows: tuple[tuple[datetime, datetime, int], ...]
    """Start, end and overage units (scaled) of its periods that have some, oldest first."""


class Frozen(Noun, frozen=True, kw_only=True):
    """The overage of a billing period."""

    sold: tuple[Sold, ...] = ()


def of(uses: Iterable[Use]) -> Frozen:
    """What is kept of uses: those with overage."""
    found: dict[tuple[str, str, str, Overage], list[Use]] = {}
    for use in uses:
        if use.units:
            key = (use.feature.id, use.plan_version, use.currency, use.overage)
            found.setdefault(key, []).append(use)
    return Frozen(sold=tuple(_sold(each) for each in found.values()))


def _sold(uses: list[Use]) -> Sold:
    first = uses[0]
    windows = sorted((use.window.start, use.window.end, use.units) for use in uses if use.window.end)
    return Sold(
        feature=first.feature,
        plan_version=first.plan_version,
        currency=first.currency,
        overage=first.overage,
        windows=tuple(windows),
    )


def uses(frozen: Frozen) -> Iterator[Use]:
    """The uses that were kept."""
    for sold in frozen.sold:
        for start, end, units in sold.windows:
            yield Use(
                feature=sold.feature,
                plan_version=sold.plan_version,
                currency=sold.currency,
                overage=sold.overage,
                window=Period(start, end),
                units=units,
            )


def changed(frozen: Frozen, by_now: Iterable[Use]) -> Frozen:
    """With other units in some feature periods: those of the same feature and start are replaced."""
    new = {(use.feature.id, use.window.start): use for use in by_now}
    kept = [use for use in uses(frozen) if (use.feature.id, use.window.start) not in new]
    return of(sorted([*kept, *new.values()], key=lambda use: use.window.start))


def adjustments(before: Frozen, after: Frozen) -> Iterator[Line]:
    """A line for each that comes to something else by now, less what was charged for it."""
    old, new = overage.rated(uses(before)), overage.rated(uses(after))
    for key in [*old, *(key for key in new if key not in old)]:
        was, line = old.get(key), new.get(key)
        if (was and was.amount) != (line and line.amount):
            yield _adjusted(was, line)


def _adjusted(was: Line | None, line: Line | None) -> Line:
    if line is None:
        assert was is not None, "one of the two is there"
        packages = None if was.packages is None else 0
        line = msgspec.structs.replace(was, quantity=0, periods=0, packages=packages, flats=0, amount=0)
    billed = 0 if was is None else was.amount
    return msgspec.structs.replace(
        line,
        amount=line.amount - billed,
        billed=billed,
        billed_quantity=0 if was is None else was.quantity,
    )


def by_currency(lines: Iterable[Line]) -> Mapping[str, list[Line]]:
    """The lines of each currency, in their order: an invoice has one."""
    found: dict[str, list[Line]] = {}
    for line in lines:
        found.setdefault(line.currency, []).append(line)
    return found
