"""Rules of overage and its price: which fields a model has, and tiers without a hole or an overlap."""

from decimal import Decimal

from policies.compiler.findings import Findings
from policies.compiler.terms_fields import OVERAGE, MeteredSource, OverageSource, TierSource


def check(overage: OverageSource, terms: MeteredSource, findings: Findings) -> None:
    """Adds the findings of one overage."""
    _sense(overage, terms, findings)
    if overage.model is not None:
        OVERAGE.check(overage, overage.model, "overage", findings)
    if overage.size == 0:
        findings.error(overage.value("size"), "overage", "size is more than 0")
    if overage.model in {"graduated", "volume"} and overage.tiers and overage.sound("up_to"):
        _tiers(overage.tiers, overage.up_to, findings)


def _sense(overage: OverageSource, terms: MeteredSource, findings: Findings) -> None:
    """Overage where there is something to be over, and a period that ends and is billed."""
    if terms.included is not None and terms.included.is_infinite():
        message = "overage beside included: unlimited, which is never exceeded"
        findings.error(overage.at, "overage", message, "take one of them out")
    if terms.interval == "never":
        message = "overage with interval: never, whose period never ends and so is never billed"
        hint = "give an interval such as month, or take overage out for a hard limit"
        findings.error(overage.at, "overage", message, hint)
    if overage.up_to == 0:
        hint = "take overage out for a hard limit, or upTo for none"
        findings.error(overage.value("up_to"), "overage", "upTo: 0 leaves no overage", hint)


def _tiers(tiers: tuple[TierSource, ...], end: Decimal | None, findings: Findings) -> None:
    """Each tier begins where the one before it ends, and the last one reaches as far as overage does."""
    begin = Decimal(0)
    for tier in tiers:
        _amounts(tier, findings)
        if not tier.sound("up_to"):
            return
        if end is not None and begin >= end:
            message = f"this tier begins above {begin:,}, and overage ends at {end:,}"
            findings.warning(tier.at, "tiers", message, "it is never reached")
        if tier.up_to is None:
            if tier is not tiers[-1]:
                message = 'a tier without "upTo" has no end, so the next one never begins'
                findings.error(tier.at, "tiers", message, "give it an upTo, or move it to the end")
            return
        if tier.up_to <= begin:
            ends = f"this tier ends at {tier.up_to:,}, and the one before it at {begin:,}"
            message = ends if begin else "a tier ends above 0"
            findings.error(tier.value("up_to"), "tiers", message, "tiers rise")
        begin = max(begin, tier.up_to)
    _covered(tiers[-1], end, findings)


def _amounts(tier: TierSource, findings: Findings) -> None:
    if "unit_amount" not in tier.keys and "flat_amount" not in tier.keys:
        hint = 'write unitAmount: "0" for a free tier'
        findings.error(tier.at, "missing-field", "a tier needs unitAmount or flatAmount", hint)


def _covered(last: TierSource, end: Decimal | None, findings: Findings) -> None:
    """The last tier prices all that overage allows."""
    at, ends = last.value("up_to"), last.up_to
    if ends is None:
        return
    if end is None:
        message = f"the last tier ends at {ends:,}, and overage has no end"
        findings.error(at, "tiers", message, "leave its upTo out, or give overage an upTo")
    elif end > ends:
        message = f"the last tier ends at {ends:,}, and overage goes on to {end:,}"
        findings.error(at, "tiers", message, "leave its upTo out")
