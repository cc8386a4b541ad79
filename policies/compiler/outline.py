"""What rules between files need to know of a plan or an add-on."""

import msgspec

from policies.compiler.fields import AddonSource
from policies.compiler.source import AddonFile, PlanFile
from policies.compiler.terms import SwitchSource, TermsSource
from policies.compiler.terms_fields import MeteredSource, QuantitySource
from policies.model import AddonVersion, Anchor, CapScope, Interval, MeteredTerms, PlanVersion, Terms


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """One feature that is given. Of one that is not metered, or cannot be read, there is nothing to know."""

    interval: Interval | None = None
    anchor: Anchor | None = None
    caps: frozenset[tuple[Interval, CapScope]] = frozenset()


class Outline(msgspec.Struct, frozen=True, kw_only=True):
    """One plan or add-on."""

    id: str
    currency: str | None
    gives: dict[str, Given]
    """By feature id; a feature whose terms cannot be read is given, too."""
    plans: tuple[str, ...] = ()
    """Of an add-on: what it may be held with."""
    whole: bool
    """Whether all that it gives could be read by name."""


def of(file: PlanFile | AddonFile) -> Outline:
    """A plan or add-on as its file says it; the same when it is taken over."""
    if file.taken is not None:
        return _taken(file.taken)
    said = file.said
    return Outline(
        id=file.stem,
        currency=said.currency if said else None,
        gives={
            feature_id: given(terms)
            for feature_id, terms in file.terms.items()
            if not (isinstance(terms, SwitchSource) and not terms.given)
        },
        plans=tuple(sorted(plan.value for plan in said.plans)) if isinstance(said, AddonSource) else (),
        whole=said is not None and said.features is not None,
    )


def _taken(version: PlanVersion | AddonVersion) -> Outline:
    gives = {feature_id: _given(terms) for feature_id, terms in version.terms.items()}
    if isinstance(version, PlanVersion):
        return Outline(id=version.plan_id, currency=version.currency, gives=gives, whole=True)
    return Outline(
        id=version.addon_id, currency=version.currency, gives=gives, plans=version.plans, whole=True
    )


def _given(terms: Terms) -> Given:
    if not isinstance(terms, MeteredTerms):
        return Given()
    caps = frozenset((cap.interval, cap.per) for cap in terms.caps)
    return Given(interval=terms.interval, anchor=terms.anchor, caps=caps)


def given(terms: TermsSource | None) -> Given:
    """What one file says of one feature."""
    if not isinstance(terms, QuantitySource):
        return Given()
    caps = terms.caps if isinstance(terms, MeteredSource) else ()
    return Given(
        interval=terms.interval if terms.sound("interval") else None,
        anchor=terms.anchor if terms.sound("anchor") else None,
        caps=frozenset((cap.interval, cap.per) for cap in caps if cap.interval and cap.sound("per")),
    )
