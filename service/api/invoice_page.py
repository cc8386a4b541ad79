"""An invoice as one HTML page: for the screen and for A4 paper, without anything from outside.

Whatever a tenant or a plan file says is text here, never markup. On paper the head of the table stands on
every page, and the sum once: browsers would repeat the foot of a table as well.
"""

from collections.abc import Iterator
from datetime import datetime
from html import escape
from typing import Final

from policies import money
from service.usecases.invoice_view import InvoiceView
from service.usecases.line_view import LineView
from service.usecases.subscription_view import PeriodView

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
"""What a browser may do with the page: nothing but show it."""

_STATES: Final = {
    "open": "To be paid",
    "paid": "Paid",
    "void": "Void: nothing is owed for it",
    "uncollectible": "Not collected",
    "credited": "Credited whole",
}
_STYLE: Final = """
@page { size: A4; margin: 18mm 16mm 20mm;
  @bottom-right { content: counter(page) " / " counter(pages); font: 8.5pt Arial, sans-serif; color: #555 } }
* { box-sizing: border-box }
body { font: 10.5pt/1.45 "Helvetica Neue", Helvetica, Arial, sans-serif; color: #1a1a1a; margin: 0 auto;
  max-width: 178mm; padding: 12mm 0 }
header { display: flex; justify-content: space-between; gap: 12mm; border-bottom: 2px solid #1a1a1a;
  padding-bottom: 5mm; margin-bottom: 7mm }
h1 { font-size: 20pt; margin: 0 }
h2 { font-size: 11pt; margin: 8mm 0 2mm; break-after: avoid }
.state { font-weight: 600 }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 1mm 5mm; margin: 0 }
dt { color: #555 }
dd { margin: 0; overflow-wrap: anywhere }
.to { overflow-wrap: anywhere; max-width: 80mm }
table { width: 100%; border-collapse: collapse }
thead { display: table-header-group }
th { text-align: left; font-weight: 600; border-bottom: 1px solid #1a1a1a; padding: 1.5mm 2mm 1.5mm 0 }
td { vertical-align: top; border-bottom: 1px solid #ddd; padding: 1.8mm 2mm 1.8mm 0; overflow-wrap: anywhere }
tr { break-inside: avoid }
.number { text-align: right; white-space: nowrap; padding-left: 4mm; padding-right: 0;
  font-variant-numeric: tabular-nums }
.small { color: #555; font-size: 8.5pt }
tfoot { display: table-row-group }
tfoot tr { break-before: avoid }
tfoot td { border-bottom: 0; padding-top: 1mm; padding-bottom: 1mm }
tfoot .total td { font-weight: 700; font-size: 12pt; border-top: 2px solid #1a1a1a; padding-top: 2mm }
footer { margin-top: 10mm; color: #555; font-size: 8.5pt }
@media print { body { padding: 0; max-width: none } }
"""


def of(view: InvoiceView) -> str:
    """The whole page."""
    return "".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            f"<title>Invoice {escape(view.number)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n",
            _head(view),
            _table(view),
            _credit_notes(view),
            _foot(view),
            "</body>\n</html>\n",
        )
    )


def _head(view: InvoiceView) -> str:
    name = view.billed_to.name or view.tenant_id
    to = "<br>".join(escape(each) for each in (name, view.billed_to.email, view.tenant_id) if each)
    facts = [
        ("Issued", _day(view.issued_at)),
        ("Period", _span(view.period)),
        ("Plan", view.plan_id),
        ("Subscription", view.subscription_id),
    ]
    if view.due_at is not None:
        facts.append(("Due", _day(view.due_at)))
    told = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    return (
        f"<header>\n<div><h1>Invoice {escape(view.number)}</h1>"
        f'<p class="state">{_state(view)}</p></div>\n'
        f'<div class="to">{to}</div>\n</header>\n<dl>{told}</dl>\n'
    )


def _state(view: InvoiceView) -> str:
    said = _STATES[view.state]
    if view.state == "paid" and view.total:
        said = f"{said} on {_day(view.since)}"
    return escape(said)


def _table(view: InvoiceView) -> str:
    rows = "".join(_row(line, view.currency) for line in view.lines)
    sums = "".join(
        f'<tr{kind}><td colspan="3">{escape(name)}</td><td class="number">{escape(amount)}</td></tr>\n'
        for kind, name, amount in _sums(view)
    )
    return (
        '<h2>What it is for</h2>\n<table>\n<thead><tr><th>For</th><th class="number">Quantity</th>'
        '<th class="number">Price</th><th class="number">Amount</th></tr></thead>\n'
        f"<tbody>\n{rows}</tbody>\n<tfoot>\n{sums}</tfoot>\n</table>\n"
    )


def _sums(view: InvoiceView) -> Iterator[tuple[str, str, str]]:
    total = ' class="total"'
    yield total, "Total", money.human(view.total, view.currency)
    if view.credited:
        yield "", "Credited", money.human(-view.credited, view.currency)
    if view.paid:
        yield "", "Paid", money.human(-view.paid, view.currency)
    if view.due != view.total:
        yield total, "To be paid", money.human(view.due, view.currency)


def _row(line: LineView, currency: str) -> str:
    small = [_span(line.period)]
    if line.source:
        small.append(f"{line.version}, {line.source}")
    carried = line.kind == "carried"
    return (
        f'<tr><td>{escape(line.description)}<div class="small">{escape("; ".join(small))}</div></td>'
        f'<td class="number">{"" if carried else escape(_number(line.quantity))}</td>'
        f'<td class="number">{"" if carried else escape(_price(line, currency))}</td>'
        f'<td class="number">{escape(money.written(line.amount, currency))}</td></tr>\n'
    )


def _price(line: LineView, currency: str) -> str:
    price = money.priced(line.unit_amount, currency)
    return price if line.package_size is None else f"{price} per {_number(line.package_size)}"


def _number(value: int | str) -> str:
    """With thousands set apart."""
    whole, point, rest = str(value).partition(".")
    return f"{int(whole):,}{point}{rest}"


def _credit_notes(view: InvoiceView) -> str:
    if not view.credit_notes:
        return ""
    rows = "".join(
        f'<tr><td>{escape(note.number)}<div class="small">{escape(note.reason)}</div></td>'
        f"<td>{_day(note.issued_at)}</td>"
        f"<td>{'less is to be paid' if note.settles == 'due' else 'the next invoice is lower by it'}</td>"
        f'<td class="number">{escape(money.written(-note.amount, view.currency))}</td></tr>\n'
        for note in view.credit_notes
    )
    return f"<h2>Credit notes</h2>\n<table>\n<tbody>\n{rows}</tbody>\n</table>\n"


def _foot(view: InvoiceView) -> str:
    text = (
        f"Amounts are in {view.currency.upper()}. Times are UTC; a period has its first instant and not its "
        "last. Each line names the plan version and the line of the plan files that says its price. "
        f"{view.invoice_id}"
    )
    return f"<footer>{escape(text)}</footer>\n"


def _day(at: datetime) -> str:
    return f"{at.day} {at:%B %Y}"


def _span(period: PeriodView) -> str:
    if period.end is None:
        return f"from {_instant(period.start)}"
    if period.start == period.end:
        return f"after {_instant(period.end)}"
    return f"{_instant(period.start)} to {_instant(period.end)}"


def _instant(at: datetime) -> str:
    """The day; with the clock time, if it does not begin there."""
    return f"{at:%Y-%m-%d}" if at.hour == at.minute == at.second == 0 else f"{at:%Y-%m-%d %H:%M}"
