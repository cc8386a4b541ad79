"""Which words may policies use? The Cedar schema of a catalog, and that of the principal alone."""

from collections.abc import Iterable
from typing import Final

from policies import limits
from policies.compiler.cedar import quoted
from policies.model import BillingStatus, Feature

_STATUSES: Final[tuple[BillingStatus, ...]] = (
    "good",
    "grace",
    "restricted",
    "suspended",
    "paused",
    "ended",
    "pending",
)


def schema(features: Iterable[Feature]) -> str:
    """The words that policies over these features may use."""
    listed = sorted(features, key=lambda feature: feature.id)
    keys = sorted({key for feature in listed for key in feature.context})
    request = ", ".join(f"{quoted(key)}?: String" for key in keys)
    caps = ", ".join(f"c{number}: Long" for number in range(1, limits.CAPS + 1))
    ids = f" enum [{_listed(feature.id for feature in listed)}]" if listed else ""
    return f"""{principal_schema()}
entity Feature{ids};

type Request = {{ {request} }};
type Facts = {{ plan: String, ai: Bool, costly: Bool, always: Bool }};

action "use" appliesTo {{
  principal: [Tenant],
  resource: [Feature],
  context: {{ drawn: Long, requested: Long, caps: {{ {caps} }}, request: Request, facts: Facts }}
}};
"""


def principal_schema() -> str:
    """What is stored about a tenant, as attributes of the principal; the same for every catalog.

    Its metadata are tags: texts by keys that no catalog has to know.
    """
    return f"""entity Tenant = {{
  billingStatus: BillingStatus,
  trial: Bool,
  entitled: Bool,
  extra: Long,
  extraLimit: Long,
  unlimited: Bool,
  unlimitedOverage: Bool
}} tags String;
entity BillingStatus enum [{_listed(_STATUSES)}];"""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(quoted(name) for name in names)
