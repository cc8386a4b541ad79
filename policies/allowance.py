"""How much may be counted at most, if it is to fit? What the script that consumes compares with.

Cedar says it: the ceilings are read off its answers (`Engine.ceilings`). They hold for what is granted at the
moment; where less or more is granted when it comes to counting, they must be asked for anew.
"""

import msgspec

from policies import balance, decide
from policies.balance import Levels
from policies.decide import Request
from policies.engine import Engine
from policies.entitlement import Right
from policies.model import MeteredTerms


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """The highest that each axis may come to, a use included; None is without end. Scaled."""

    granted: int | None
    """What is granted; None: without end, and then nothing depends on it."""
    drawn: int | None
    """Of what is drawn from granted units and overage, held units included."""
    caps: tuple[int | None, ...]
    """Of each cap of the right, in their order."""


def of(engine: Engine, right: Right, request: Request, levels: Levels) -> Allowance | None:
    """The allowance of a right whose counters stand at these levels; None if Cedar allows nothing at all.

    Only the context of the request bears on it. Errors: InvalidError for context that the feature does not
    declare; ValueError where Cedar could not decide, or no ceiling stands for what it decides.
    """
    part, facts = decide.ground(engine, right, levels)
    found = engine.ceilings(part, facts, request.context)
    if found is None:
        return None
    assert isinstance(right.terms, MeteredTerms), "only metered features are counted"
    account = balance.of(right.terms, levels, overage=right.has_overage, grants=right.grants)
    return Allowance(granted=account.granted, drawn=found[0], caps=found[1:])
