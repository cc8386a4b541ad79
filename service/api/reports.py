"""Usage as series: JSON for programs, CSV for spreadsheets, a chart of text for people at a terminal."""

import csv
import io
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Final, Literal, cast

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency

from service.api import auth, decode, openapi, wire
from service.api.decode import AnyRequest
from service.context import Caller, Context
from service.usecases import report
from service.usecases.report import Question, Report, Series

Step = Literal["hour", "day", "month"]
_Writer = Callable[[Report, Step], bytes]

JSON: Final = "application/json"
BAR: Final = 50
"""Characters of the longest bar."""
NO_KEY: Final = "(none)"
"""Heads what was used without what the series are grouped by, such as an entity."""
_SHOWN: Final[dict[Step, str]] = {"hour": "%Y-%m-%d %H:%M", "day": "%Y-%m-%d", "month": "%Y-%m"}
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"


class ReportQuery(wire.Body, frozen=True, kw_only=True):
    """What the report is about; half-open, whole hours in UTC."""

    tenant_id: Annotated[
        wire.TenantId | None, msgspec.Meta(description="Only of this tenant; else of all that the key sees.")
    ] = None
    feature_id: Annotated[
        wire.CatalogId | None,
        msgspec.Meta(description="Only of this feature; needed unless grouped by feature."),
    ] = None
    start: Annotated[wire.Instant | None, msgspec.Meta(description="The first hour.")] = msgspec.field(
        name="from", default=None
    )
    end: Annotated[wire.Instant | None, msgspec.Meta(description="The hour after the last.")] = msgspec.field(
        name="to", default=None
    )
    step: Annotated[Step, msgspec.Meta(description="How long the time of one point is.")] = "day"
    group_by: Annotated[
        Literal["service", "entity", "feature", "tenant", "plan"] | None,
        msgspec.Meta(description="One series for each of these; by feature when left out."),
    ] = None


@get(
    "/v1/reports/usage",
    opt=auth.needs("read") | openapi.asks(ReportQuery) | openapi.answers(types=["text/csv", "text/plain"]),
)
async def usage_report(
    request: AnyRequest, context: NamedDependency[Context], caller: NamedDependency[Caller]
) -> Response[Report]:
    """Tells how much was used. Answers JSON, `text/csv` or `text/plain` (a chart), as `Accept` asks."""
    query = decode.query(request, ReportQuery)
    tenant_id = query.tenant_id or caller.tenant_id
    if tenant_id is not None:
        auth.own_tenant(caller, tenant_id)
    answer = await report.usage(
        context,
        Question(
            tenant_id=tenant_id,
            feature_id=query.feature_id,
            start=wire.utc(query.start, "?from") if query.start else None,
            end=wire.utc(query.end, "?to") if query.end else None,
            step=query.step,
            group_by=query.group_by,
        ),
    )
    media_type, write = _written(request.headers.get("accept", "*/*"))
    return Response(cast("Report", write(answer, query.step)), media_type=media_type)


def _written(accept: str) -> tuple[str, _Writer]:
    """The first of the asked-for types that we have; JSON if anything will do."""
    for part in accept.lower().split(","):
        kind = part.partition(";")[0].strip()
        if kind in _WRITERS:
            return _WRITERS[kind]
    return _WRITERS[JSON]


def _as_json(answer: Report, _step: Step) -> bytes:
    return msgspec.json.encode(answer)


def _as_csv(answer: Report, _step: Step) -> bytes:
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow(("key", "at", "quantity"))
    for series in answer.series:
        lines.writerows((series.key, _stamp(at), quantity) for at, quantity in series.points)
    return text.getvalue().encode()


def _as_chart(answer: Report, step: Step) -> bytes:
    """One bar per step, all series to one scale: the longest bar of all has the full width."""
    most = max((float(quantity) for series in answer.series for _, quantity in series.points), default=0)
    blocks = [_bars(series, step, most or 1) for series in answer.series] or ["No usage."]
    through = _stamp(answer.flushed_through) if answer.flushed_through else "nothing yet"
    total = "" if answer.total is None else f"total {_number(answer.total)} in {answer.events:,} events; "
    return ("\n\n".join(blocks) + f"\n\n{total}complete up to {through}\n").encode()


def _bars(series: Series, step: Step, most: float) -> str:
    lines = [series.key or NO_KEY]
    for at, quantity in series.points:
        eighths = round(float(quantity) / most * BAR * 8)  # for the eye only
        bar = "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
        lines.append(f"  {at.strftime(_SHOWN[step])}  {bar:<{BAR}}  {_number(quantity):>16}")
    return "\n".join(lines)


def _number(quantity: int | str) -> str:
    if isinstance(quantity, int):
        return f"{quantity:,}"
    whole, point, rest = quantity.partition(".")
    return f"{int(whole):,}{point}{rest}"


def _stamp(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


_WRITERS: Final[dict[str, tuple[str, _Writer]]] = {
    JSON: (JSON, _as_json),
    "text/csv": ("text/csv; charset=utf-8", _as_csv),
    "text/plain": ("text/plain; charset=utf-8", _as_chart),
}

ROUTES: Final = (usage_report,)
