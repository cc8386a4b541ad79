"""The lines of a draft beside those that are to be there, and how a charge's difference is told."""

from collections import Counter
from collections.abc import Iterator, Sequence

from policies.charging import seen
from policies.reconcile.classes import Class
from policies.reconcile.finding import Finding, OurCharge


def of(
    one: OurCharge,
    kind: Class,
    expected: str,
    actual: str,
    *,
    subject: str | None = None,
    money: int = 0,
) -> Finding:
    """A difference of a charge; about our invoice, unless another subject is named."""
    return Finding(
        kind=kind,
        tenant_id=one.tenant_id,
        subject=one.invoice_id if subject is None else subject,
        expected=expected,
        actual=actual,
        money=money,
        currency=one.currency,
    )


def of_draft(one: OurCharge, found: Sequence[seen.Line] | None) -> Iterator[Finding]:
    """What a draft lacks, has twice, has otherwise, or has of others; nothing if its lines were not read."""
    if found is None:
        return
    times = Counter(line.line_id for line in found)
    missing = sorted(line_id for line_id in one.lines if not times[line_id])
    twice = sorted(line_id for line_id in one.lines if times[line_id] > 1)
    ours = one.lines.keys() | one.planned
    foreign = [line for line in found if line.line_id is None or line.line_id not in ours]
    other = [
        line for line in found if line.line_id in one.lines and line.amount != one.lines[line.line_id or ""]
    ]
    if missing:
        lacks = sum(one.lines[line_id] for line_id in missing)
        yield of(one, "item_missing", ", ".join(missing), "nothing", money=abs(lacks))
    if twice:
        more = sum(one.lines[line_id] * (times[line_id] - 1) for line_id in twice)
        yield of(one, "item_duplicate", "each once", ", ".join(twice), money=abs(more))
    if other:
        told = ", ".join(f"{line.line_id}: {line.amount}" for line in other)
        wanted = ", ".join(f"{line.line_id}: {one.lines[line.line_id or '']}" for line in other)
        differs = sum(abs(line.amount - one.lines[line.line_id or ""]) for line in other)
        yield of(one, "item_amount", wanted, told, money=differs)
    if foreign:
        told = ", ".join(f"{line.ref}: {line.amount}" for line in foreign)
        yield of(one, "item_foreign", "nothing", told, money=sum(abs(line.amount) for line in foreign))
