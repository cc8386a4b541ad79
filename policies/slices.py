"""A slice: the policies of one feature in one plan version, with the guards beside them.

A slice is a few kilobytes; what Cedar makes of its text is ten times that, and is only needed where no table
knows the answer. So the two live apart (`Slice.parse`).
"""

from collections.abc import Iterable
from itertools import count
from typing import Any, Final

import cedarpy

from policies.compiler import cedar, fragment
from policies.compiler.cedar import Clause, Policy
from policies.compiler.fragment import Bound
from policies.model import Feature, Guard, MeteredTerms, PlanVersion

_NUMBERS: Final = count()


class Parsed:
    """What Cedar makes of the text of a slice."""

    __slots__ = ("_probes", "clauses", "handle")

    def __init__(self, policies: tuple[Policy, ...], clauses: tuple[Clause, ...]) -> None:
        self.handle = cedarpy.PolicySet.from_str(cedar.text(policies))
        self.clauses = clauses
        self._probes: Any = None

    @property
    def probes(self) -> Any:
        """One permit for each clause."""
        if self._probes is None:
            self._probes = cedarpy.PolicySet.from_str(cedar.probes(self.clauses))
        return self._probes


class Slice:
    """The policies of one feature: permits, then guards. Without a permit it denies all (R3)."""

    __slots__ = (
        "__weakref__",
        "_first",
        "axes",
        "bounds",
        "clauses",
        "context",
        "fault",
        "feature",
        "feature_id",
        "guarded",
        "number",
        "permits",
        "places",
        "plan",
        "policies",
        "request_keys",
        "stated",
        "tags",
    )

    def __init__(
        self,
        feature_id: str,
        policies: tuple[Policy, ...] = (),
        *,
        context: tuple[str, ...] = (),
        fault: str | None = None,
        plan: PlanVersion | None = None,
        feature: Feature | None = None,
        stated: dict[str, str | bool] | None = None,
        guards: tuple[Guard, ...] = (),
        axes: int = 1,
    ) -> None:
        """`stated`: what the catalog says of plan and feature; `axes` counts what was drawn and the caps.

        Errors: ValueError for policies that Cedar cannot parse.
        """
        self.number = next(_NUMBERS)
        """Tells it from every other slice of this process, without holding on to it."""
        self.feature_id = feature_id
        self.feature = feature
        self.policies = policies
        self.permits = tuple(policy for policy in policies if policy.effect == "permit")
        self.stated = stated or {}
        self.guarded = bool(guards)
        self.request_keys = tuple(sorted({key for guard in guards for key in guard.request_keys}))
        self.tags = tuple(sorted({tag for guard in guards for tag in guard.tags}))
        self.axes = axes
        self.clauses: tuple[Clause, ...] = tuple(clause for policy in policies for clause in policy.clauses)
        self.context = context
        """The keys that a request may carry."""
        self.fault = fault
        """Why there are no policies although there should be: then nothing can be decided."""
        self.plan = plan
        """Whose lines the policies name."""
        # Cedar names policies by their place in the text.
        self.places = {f"policy{place}": policy for place, policy in enumerate(policies)}
        self.bounds = _bounds(self.clauses)
        """Where clauses compare usage; None where no table can stand for the slice: Cedar is asked."""
        self._first: Parsed | None = Parsed(policies, self.clauses)
        """What came of looking whether it parses: whoever asks first gets that."""

    def parse(self) -> Parsed:
        """The slice as Cedar is asked about it; the slice itself holds on to none."""
        first, self._first = self._first, None
        return first or Parsed(self.policies, self.clauses)


def parsed(plan: PlanVersion, feature: Feature, guards: tuple[Guard, ...]) -> Slice:
    """The policies that decide a feature for who stands on a plan.

    What cannot be compiled has a fault, and still its guards if those can be: they go on refusing.
    """
    terms = plan.terms.get(feature.id)
    axes = 1 + (len(terms.caps) if isinstance(terms, MeteredTerms) else 0)

    def made(policies: tuple[Policy, ...], fault: str | None = None) -> Slice:
        return Slice(
            feature.id,
            policies,
            context=feature.context,
            fault=fault,
            plan=plan,
            feature=feature,
            stated=cedar.stated(plan.plan_id, feature),
            guards=guards,
            axes=axes,
        )

    forbids = cedar.guards(guards, feature.id)
    try:
        permits = cedar.policies(plan, feature.id) if terms is not None else cedar.off_plan(feature)
        return made((*permits, *forbids))
    except (ValueError, LookupError) as error:
        fault = f"{plan.version} {feature.id}: {error!r}"
    try:
        return made(forbids, fault)
    except ValueError:
        return made((), fault)


def _bounds(clauses: Iterable[Clause]) -> tuple[Bound, ...] | None:
    try:
        return tuple([bound for clause in clauses if (bound := fragment.bound(clause.text)) is not None])
    except ValueError:
        return None


NOTHING: Final = Slice("")
"""The slice without a permit (R3)."""
