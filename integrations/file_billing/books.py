"""The folder: its files, each written whole or not at all, and what they make of an invoice."""

import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from integrations.payments import Done
from policies.charging import seen

T = TypeVar("T", bound=msgspec.Struct)


class Payer(msgspec.Struct, frozen=True, kw_only=True):
    """Who pays, as the folder keeps it."""

    ref: str
    tenant_id: str
    name: str
    email: str
    created_at: datetime

    @property
    def seen(self) -> seen.Customer:
        """As we see it."""
        return seen.Customer(
            ref=self.ref, tenant_id=self.tenant_id, email=self.email, created_at=self.created_at
        )


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line, as the folder keeps it."""

    ref: str
    line_id: str
    amount: int
    description: str
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    def of(self, kept: "Invoice") -> seen.Line:
        """As we see it."""
        return seen.Line(
            ref=self.ref,
            invoice_ref=kept.ref,
            amount=self.amount,
            currency=kept.currency,
            line_id=self.line_id,
            description=self.description,
        )


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """One as the folder keeps it; whether it was paid stands in its receipt alone."""

    ref: str
    customer_ref: str
    tenant_id: str
    invoice_id: str
    number: str
    currency: str
    status: str
    created_at: datetime
    lines: tuple[Line, ...] = ()
    credits: tuple[seen.CreditNote, ...] = ()
    finalized_at: datetime | None = None
    voided_at: datetime | None = None
    written_off_at: datetime | None = None

    @property
    def subtotal(self) -> int:
        """What the lines add up to."""
        return sum(line.amount for line in self.lines)

    @property
    def due(self) -> int:
        """Without what was credited."""
        return self.subtotal - sum(note.amount for note in self.credits)


class Receipt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was paid for an invoice, in minor units of its currency."""

    amount: int
    reference: str = ""


class ToCollect(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is to be collected, for whoever does it. Amounts are minor units."""

    number: str
    tenant_id: str
    invoice_id: str
    name: str
    email: str
    currency: str
    total: int
    lines: tuple[Line, ...]
    issued_at: datetime


class Folder:
    """The folder of one provider."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def once(self, kind: str, ref: str, made: T, shape: type[T]) -> Done[T]:
        """Writes what is new, or finds what was written before under the same name."""
        kept = self.read(kind, ref, shape)
        if kept is not None:
            return Done(kept, repeated=True)
        self.write(self.file(kind, ref), made)
        return Done(made)

    def tell(self, kept: Invoice) -> None:
        """Writes down what is to be collected by now."""
        payer = self.read("customers", kept.customer_ref, Payer)
        told = ToCollect(
            number=kept.number,
            tenant_id=kept.tenant_id,
            invoice_id=kept.invoice_id,
            name=payer.name if payer else "",
            email=payer.email if payer else "",
            currency=kept.currency,
            total=kept.due,
            lines=kept.lines,
            issued_at=kept.finalized_at or kept.created_at,
        )
        self.write(self.file("to-collect", kept.number), told)

    def browse(self, kind: seen.Kind) -> list[seen.Seen]:
        """All that it has of a kind."""
        if kind == "customer":
            return [one.seen for one in self.all("customers", Payer)]
        every = [*self.all("invoices", Invoice)]
        match kind:
            case "invoice":
                return [self.invoice(one) for one in every]
            case "payment":
                return [paid for one in every for paid in self.payments(one)]
            case "credit_note":
                return [note for one in every for note in one.credits]
        return []

    def _receipt(self, number: str) -> tuple[Receipt, datetime] | None:
        """The receipt of an invoice, and when it came; one that cannot be read is none yet."""
        path = self.file("receipts", number)
        try:
            found = msgspec.json.decode(path.read_bytes(), type=Receipt)
            came = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
        return found, came

    def payments(self, kept: Invoice) -> list[seen.Payment]:
        """Its receipt, if there is one; of what was taken back there is none."""
        receipt = None if kept.status in ("draft", "void") else self._receipt(kept.number)
        if receipt is None or receipt[0].amount <= 0:
            return []
        return [
            seen.Payment(
                ref=f"receipt:{kept.number}",
                status="succeeded",
                amount=receipt[0].amount,
                amount_refunded=0,
                currency=kept.currency,
                customer_ref=kept.customer_ref,
                invoice_ref=kept.ref,
                created_at=receipt[1],
            )
        ]

    def invoice(self, kept: Invoice) -> seen.Invoice:
        """An invoice as we see it: paid, if its receipt says so."""
        paid = self.payments(kept)
        amount = sum(one.amount for one in paid)
        whole = bool(paid) and amount >= kept.due
        return seen.Invoice(
            ref=kept.ref,
            customer_ref=kept.customer_ref,
            currency=kept.currency,
            status="paid" if whole else kept.status,
            subtotal=kept.subtotal,
            total=kept.subtotal,
            amount_due=kept.due,
            amount_paid=amount,
            amount_remaining=0 if kept.status == "void" else max(0, kept.due - amount),
            invoice_id=kept.invoice_id,
            tenant_id=kept.tenant_id,
            number=kept.number,
            created_at=kept.created_at,
            finalized_at=kept.finalized_at,
            paid_at=paid[0].created_at if whole else None,
            voided_at=kept.voided_at,
            written_off_at=kept.written_off_at,
        )

    def all(self, kind: str, shape: type[T]) -> Iterator[T]:
        """Every file of a kind."""
        for path in sorted((self.path / kind).glob("*.json")):
            yield msgspec.json.decode(path.read_bytes(), type=shape)

    def read(self, kind: str, ref: str, shape: type[T]) -> T | None:
        """One of them; None if it is not there."""
        try:
            return msgspec.json.decode(self.file(kind, ref).read_bytes(), type=shape)
        except FileNotFoundError:
            return None

    def file(self, kind: str, ref: str) -> Path:
        """Where it stands."""
        assert ref.replace("-", "").replace("_", "").isalnum(), (
            "references are ours, and name no other folder"
        )
        return self.path / kind / f"{ref}.json"

    def write(self, path: Path, value: msgspec.Struct) -> None:
        """Whole or not at all, also if the power goes."""
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(f".{os.getpid()}.new")
        with new.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(value), indent=2))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)


def ref_of(kind: str, key: str) -> str:
    """The same for the same key, so that an order is carried out once however often it comes."""
    return f"{kind}_{hashlib.sha256(key.encode()).hexdigest()[:24]}"
