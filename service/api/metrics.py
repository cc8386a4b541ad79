"""What this process measured, for Prometheus.

No key is needed, as for the health routes: it names no tenant, but keep it inside your own network.
"""

from typing import Final

from litestar import Response, get
from litestar.di import NamedDependency

from service.api import auth
from service.context import Context
from service.telemetry import CONTENT_TYPE, Telemetry


@get("/metrics", opt=auth.PUBLIC, media_type="text/plain")
async def metrics(
    context: NamedDependency[Context], telemetry: NamedDependency[Telemetry]
) -> Response[bytes]:
    """Shows all metrics in Prometheus' text format. They name no tenant."""
    telemetry.count("metergate_decision_log_dropped_total", amount=context.decisions.take_dropped())
    return Response(telemetry.text(), media_type=CONTENT_TYPE)


ROUTES: Final = (metrics,)
