"""What need not be read again: files that are as they were in a catalog that was compiled before.

A plan is taken over only where reading it again could find nothing: `is_quiet` knows of every warning that a
plan's file can get. Rules between files see what is taken over as `outline` shows it, and judge it anew.
"""

from collections.abc import Mapping

import msgspec

from policies.compiler import paths
from policies.model import AddonVersion, Catalog, MeteredTerms, PlanVersion, Terms


class Known(msgspec.Struct, frozen=True):
    """A catalog that this very release compiled, and the files that it was compiled from."""

    files: Mapping[str, str]
    catalog: Catalog


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What is taken over, by path."""

    plans: dict[str, PlanVersion] = msgspec.field(default_factory=dict)
    addons: dict[str, AddonVersion] = msgspec.field(default_factory=dict)


def take(files: Mapping[str, str], known: Known | None) -> Taken:
    """The plans and add-ons of `known` that these files say in the very same words.

    Terms are read by the features, so nothing is taken over when features.yaml has changed. An add-on is
    judged beside plans and other add-ons, so add-ons are taken over together, and only with all their plans.
    """
    if known is None or not _same(paths.FEATURES, files, known):
        return Taken()
    plans = {f"{paths.PLANS}/{plan.plan_id}.yaml": plan for plan in known.catalog.plans.values()}
    plans = {path: plan for path, plan in plans.items() if _same(path, files, known) and is_quiet(plan)}
    addons = {f"{paths.ADDONS}/{addon.addon_id}.yaml": addon for addon in known.catalog.addons.values()}
    new = any(path.startswith(f"{paths.ADDONS}/") and path not in addons for path in files)
    held_with = {plan_id for addon in addons.values() for plan_id in addon.plans}
    alike = all(_same(path, files, known) for path in addons)
    if new or not alike or not held_with <= {plan.plan_id for plan in plans.values()}:
        addons = {}
    return Taken(plans=plans, addons=addons)


def is_quiet(plan: PlanVersion) -> bool:
    """Whether its file has no warnings; that it has no errors is what a compiled plan means."""
    return not any(_warns(terms) for terms in plan.terms.values())


def _warns(terms: Terms) -> bool:
    """Thresholds do nothing yet, and a tier that begins where overage ends is never reached."""
    if not isinstance(terms, MeteredTerms):
        return False
    overage = terms.overage
    if terms.thresholds or overage is None or overage.up_to is None:
        return bool(terms.thresholds)
    return any(tier.up_to is not None and tier.up_to >= overage.up_to for tier in overage.tiers[:-1])


def _same(path: str, files: Mapping[str, str], known: Known) -> bool:
    return path in files and files[path] == known.files.get(path)
