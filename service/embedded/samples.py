"""The first commands to try on a running instance with the demo tenants."""

import json
from typing import Final

TENANT: Final = "demo-pro"
FEATURE: Final = "ai-tokens"
_Body = dict[str, str | int]


def curls(url: str, key: str) -> list[tuple[str, str]]:
    """What each command shows, and the command, ready for a shell."""
    check: _Body = {"tenantId": TENANT, "featureId": FEATURE, "quantity": 150}
    usage: _Body = {"tenantId": TENANT, "serviceId": "demo", "featureId": FEATURE, "quantity": 150}
    report = f"'{url}/v1/reports/usage?tenantId={TENANT}&featureId={FEATURE}&step=hour'"
    allowed = f"-H 'Authorization: Bearer {key}'"
    return [
        ("May the tenant use it?", _post(f"{url}/v1/check", allowed, check)),
        ("It did:", _post(f"{url}/v1/usage", allowed, usage)),
        ("How much was used, as JSON:", f"curl -s {allowed} {report}"),
        ("The same as a chart:", f"curl -s {allowed} -H 'Accept: text/plain' {report}"),
    ]


def _post(url: str, allowed: str, body: _Body) -> str:
    return f"curl -s {allowed} -H 'Content-Type: application/json' -d '{json.dumps(body)}' {url}"
