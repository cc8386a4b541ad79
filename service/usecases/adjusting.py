"""What came late for closed billing periods, as lines of the next invoice.

An hour that usage came for is looked at again: its feature period is rated from all draws that are booked by
now, and what the invoices of its billing period have charged is taken off.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from policies.balance import Levels
from policies.entitlement import Right
from policies.model import MeteredTerms
from policies.rating import frozen, periods
from policies.rating.holdings import Holding
from policies.rating.lines import Line
from policies.rating.overage import Use
from policies.rating.periods import INSTANT, Rated
from service.usecases.rated import Known, Late
from store import closing, past, postgres
from store.closing import Earlier, Name

_HOUR: Final = timedelta(hours=1)


class Adjusted(msgspec.Struct, frozen=True):
    """Lines of adjustment, and the closed periods with what is invoiced of them afterwards."""

    lines: tuple[Line, ...] = ()
    periods: tuple[Earlier, ...] = ()


async def adjusted(
    connection: postgres.Connection,
    known: Known,
    holdings: Sequence[Holding],
    late: Sequence[closing.Late],
    now: datetime,
) -> Adjusted:
    """What the noted hours of one subscription come to; an hour of a period that is open yet to nothing."""
    if not late:
        return Adjusted()
    name: Name = (late[0].tenant_id, late[0].subscription_id)
    closed = await closing.earlier(connection, name, min(one.hour_at for one in late))
    by_now: dict[int, list[Use]] = {}
    for rated, over in _touched(known, holdings, late, now):
        of = next((one for one in closed if one.start_at < over <= one.end_at), None)
        if of is not None:
            by_now.setdefault(of.period_no, []).append(await _use(connection, known, rated, now))
    lines: list[Line] = []
    changed: list[Earlier] = []
    for one in closed:
        if one.period_no in by_now:
            after = frozen.changed(one.uses, by_now[one.period_no])
            lines += frozen.adjustments(one.uses, after)
            changed.append(msgspec.structs.replace(one, uses=after))
    return Adjusted(tuple(lines), tuple(changed))


def _touched(
    known: Known, holdings: Sequence[Holding], late: Sequence[closing.Late], now: datetime
) -> Iterator[tuple[Rated, datetime]]:
    """The feature periods that the hours lie in, each once, and by when each is over."""
    seen: set[tuple[str, datetime]] = set()
    for one in late:
        resolve = known.resolve(one.feature_id)
        for instant in (one.hour_at, one.hour_at + _HOUR - INSTANT):
            found = periods.containing(holdings, instant, resolve, now)
            if found is None:
                continue
            window = found[0].right.period
            assert window is not None, "what is rated has a period"
            if (one.feature_id, window.start) not in seen:
                seen.add((one.feature_id, window.start))
                yield found


async def _use(connection: postgres.Connection, known: Known, rated: Rated, now: datetime) -> Use:
    """What all draws of a feature period make of it, as they are booked by now."""
    right = rated.right
    assert right.period is not None
    assert right.period.end is not None, "what is closed has ended"
    drawn = await _levels(connection, right, now)
    carried: Sequence[int] = ()
    if rated.after is not None:
        later = await _levels(connection, rated.after, now)
        carried = [max(pair) for pair in zip(later.rollover, later.carried, strict=True)]
    found = await closing.uncounted(connection, [right.tenant_id], right.period.start, right.period.end)
    return rated.use(
        drawn.included,
        drawn.overage,
        0,
        carried,
        uncounted=Late(found).of(rated, known.resolve(right.feature_id)),
        excess=drawn.excess,
    )


async def _levels(connection: postgres.Connection, right: Right, now: datetime) -> Levels:
    assert isinstance(right.terms, MeteredTerms), "only metered features have draws"
    nowhere = [()] * len(right.terms.caps)  # caps bound what may be used, not what is owed
    return await past.levels(connection, right, entity_id=None, capped=nowhere, at=now)
