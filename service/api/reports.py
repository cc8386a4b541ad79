"""Usage as series: JSON for programs, CSV for spreadsheets, a chart of text for people at a terminal."""

import csv
import io
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency

from service.api import auth, decode, wire
from service.api.decode import AnyRequest
from service.context import Caller, Context
from service.usecases import report
from service.usecases.report import Question, Report, Series

JSON: Final = "application/json"
BAR: Final = 50
"""Characters of the longest bar."""
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"


class ReportQuery(wire.Body, frozen=True, kw_only=True):
    """What the report is about; half-open, whole hours in UTC."""

    tenant_id: wire.TenantId | None = None
    feature_id: wire.CatalogId | None = None
    start: Annotated[wire.Instant | None, msgspec.Meta(description="The first hour.")] = msgspec.field(
        name="from", default=None
    )
    end: Annotated[wire.Instant | None, msgspec.Meta(description="The hour after the last.")] = msgspec.field(
        name="to", default=None
    )
    step: Literal["hour", "day", "month"] = "day"
    group_by: Literal["service", "entity", "feature", "tenant", "plan"] | None = None


@get("/v1/reports/usage", opt=auth.needs("read"))
async def usage_report(
    request: AnyRequest, context: NamedDependency[Context], caller: NamedDependency[Caller]
) -> Response[bytes]:
    """How much was used. Answers JSON, `text/csv` or `text/plain` (a chart), as `Accept` asks."""
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
    return Response(write(answer), media_type=media_type)


def _written(accept: str) -> tuple[str, Callable[[Report], bytes]]:
    """The first of the asked-for types that we have; JSON if anything will do."""
    for part in accept.lower().split(","):
        kind = part.partition(";")[0].strip()
        if kind in _WRITERS:
            return _WRITERS[kind]
    return _WRITERS[JSON]


def _as_csv(answer: Report) -> bytes:
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow(("key", "at", "quantity"))
    for series in answer.series:
        lines.writerows((series.key, _stamp(at), quantity) for at, quantity in series.points)
    return text.getvalue().encode()


def _as_chart(answer: Report) -> bytes:
    """One bar per step, the longest of each series at full width."""
    blocks = [_bars(series) for series in answer.series] or ["No usage."]
    through = _stamp(answer.flushed_through) if answer.flushed_through else "nothing yet"
    total = "" if answer.total is None else f"total {_number(answer.total)} in {answer.events:,} events; "
    return ("\n\n".join(blocks) + f"\n\n{total}complete up to {through}\n").encode()


def _bars(series: Series) -> str:
    values = [float(quantity) for _, quantity in series.points]  # for the eye only
    most = max(values, default=0) or 1
    lines = [series.key]
    for (at, quantity), value in zip(series.points, values, strict=True):
        eighths = round(value / most * BAR * 8)
        bar = "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
        lines.append(f"  {at:%Y-%m-%d %H:%M}  {bar:<{BAR}}  {_number(quantity):>16}")
    return "\n".join(lines)


def _number(quantity: int | str) -> str:
    if isinstance(quantity, int):
        return f"{quantity:,}"
    whole, point, rest = quantity.partition(".")
    return f"{int(whole):,}{point}{rest}"


def _stamp(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


_WRITERS: Final[dict[str, tuple[str, Callable[[Report], bytes]]]] = {
    JSON: (JSON, msgspec.json.encode),
    "text/csv": ("text/csv; charset=utf-8", _as_csv),
    "text/plain": ("text/plain; charset=utf-8", _as_chart),
}

ROUTES: Final = (usage_report,)
