"""Does a catalog keep its invariants? Every region of usage is asked, in every circumstance."""

from collections.abc import Callable, Iterator
from typing import Final

from policies.model import Catalog, Invariant, InvariantRule
from policies.verify import addons, costly, ladder, never_errors, unpaid, violation
from policies.verify.standing import Standing
from policies.verify.violation import Violation

_RULES: Final[dict[InvariantRule, Callable[[Standing, Invariant, Catalog | None], Iterator[Violation]]]] = {
    "ladder-monotone": ladder.check,
    "addons-only-add": addons.check,
    "unpaid-only-always": unpaid.check,
    "costly-bounded": costly.check,
    "never-errors": never_errors.check,
}


def verify(catalog: Catalog, *, known: Catalog | None = None) -> tuple[Violation, ...]:
    """Every way in which the catalog breaks an invariant of its own, in the order of its invariants.

    What is the same in a `known` catalog that has the same invariant is passed over: it was verified with
    that one, and what was acknowledged then is not told again.
    """
    standing = Standing(catalog)
    return tuple(found for invariant in catalog.invariants for found in _broken(standing, invariant, known))


def _broken(standing: Standing, invariant: Invariant, known: Catalog | None) -> Iterator[Violation]:
    try:
        yield from _RULES[invariant.rule](standing, invariant, known if _has(known, invariant) else None)
    except ValueError as error:
        yield violation.of(invariant, invariant.source, f"it could not be verified: {error}")


def _has(known: Catalog | None, invariant: Invariant) -> bool:
    """Does a catalog have this invariant, wherever it stands?"""
    return known is not None and any(
        (one.name, one.rule, one.severity, one.exempt, one.owed)
        == (invariant.name, invariant.rule, invariant.severity, invariant.exempt, invariant.owed)
        for one in known.invariants
    )
