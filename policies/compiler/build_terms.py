"""What a plan or an add-on gives of a feature, as it was read, made into terms; quantities are scaled."""

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from policies import model
from policies.compiler.numbers import scaled
from policies.compiler.terms import SwitchSource, TermsSource, ValueSource
from policies.compiler.terms_fields import (
    CapSource,
    MeteredSource,
    OverageSource,
    QuantitySource,
    RolloverSource,
    TierSource,
)


def of_file(
    said: Mapping[str, TermsSource | None], features: Mapping[str, model.Feature]
) -> dict[str, model.Terms]:
    """All terms of one file, by feature id in its order; a switch that is off says nothing."""
    made = {feature_id: _terms(said[feature_id], features[feature_id]) for feature_id in sorted(said)}
    return {feature_id: terms for feature_id, terms in made.items() if terms is not None}


def value(said: ValueSource, feature: model.Feature) -> int | str:
    """A static feature's value as terms keep it."""
    return scaled(said.value, feature.decimals) if isinstance(said.value, Decimal) else said.value


def _terms(said: TermsSource | None, feature: model.Feature) -> model.Terms | None:
    assert said is not None
    if isinstance(said, SwitchSource):
        return model.BooleanTerms(source=said.at.source) if said.given else None
    if isinstance(said, ValueSource):
        return model.StaticTerms(source=said.at.source, value=value(said, feature), display=str(said.value))
    return _metered(said, feature)


def _metered(said: QuantitySource, feature: model.Feature) -> model.MeteredTerms:
    assert said.included is not None
    added = model.MeteredTerms(
        source=said.at.source,
        included=_scaled(said.included, feature),
        included_source=said.key("included").source,
        interval=said.interval,
        anchor=said.anchor,
    )
    if not isinstance(said, MeteredSource):
        return added
    return msgspec.structs.replace(
        added,
        overage=_overage(said.overage, feature) if said.overage else None,
        rollover=_rollover(said, said.rollover, feature) if said.rollover else None,
        caps=tuple(_cap(cap, feature) for cap in said.caps),
        thresholds=tuple(threshold.value for threshold in said.thresholds),
    )


def _overage(said: OverageSource, feature: model.Feature) -> model.Overage:
    assert said.model is not None
    return model.Overage(
        source=said.at.source,
        up_to=_scaled(said.up_to, feature),
        model=said.model,
        unit_amount=said.unit_amount,
        size=_scaled(said.size, feature),
        amount=said.amount,
        tiers=tuple(_tier(tier, feature) for tier in said.tiers or ()),
        minimum=said.minimum,
    )


def _rollover(terms: MeteredSource, said: RolloverSource, feature: model.Feature) -> model.Rollover:
    most = _scaled(said.max, feature)
    assert most is not None
    return model.Rollover(source=terms.key("rollover").source, max=most, intervals=said.intervals)


def _tier(said: TierSource, feature: model.Feature) -> model.Tier:
    return model.Tier(
        up_to=_scaled(said.up_to, feature),
        unit_amount=said.unit_amount or "0",
        flat_amount=said.flat_amount or "0",
    )


def _cap(said: CapSource, feature: model.Feature) -> model.Cap:
    limit = _scaled(said.limit, feature)
    assert limit is not None
    assert said.interval is not None
    return model.Cap(source=said.at.source, limit=limit, interval=said.interval, per=said.per)


def _scaled(quantity: Decimal | None, feature: model.Feature) -> int | None:
    """Into units of 10^-decimals; None stays None, and unlimited is None too."""
    return None if quantity is None or quantity.is_infinite() else scaled(quantity, feature.decimals)
