"""Rules of a currency and of the price that is charged in it as it stands."""

from policies import money
from policies.compiler.fields import AddonSource, PlanSource
from policies.compiler.findings import Findings, quoted


def check(said: PlanSource | AddonSource, findings: Findings) -> None:
    """A currency that exists, and a price that can be paid in it."""
    if said.currency is None:
        return
    digits = money.DIGITS.get(said.currency)
    if digits is None:
        message = f"ISO 4217 has no currency {quoted(said.currency)}"
        findings.error(said.value("currency"), "currency", message)
        return
    if said.price is not None and len(said.price.partition(".")[2]) > digits:
        most = f"at most {digits} digits" if digits else "no digits"
        message = f"a price in {said.currency} has {most} after the point, not {said.price}"
        findings.error(said.value("price"), "currency", message)
