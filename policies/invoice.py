"""What may become of an invoice, by whose hand, and what is left to be paid of it?

An invoice itself never changes once it is issued. What changes is its state, and the table below is all that
may happen to it. Money given back for a paid invoice does not unpay it: it lowers the next one.
"""

from typing import Final, Literal

import msgspec

from policies.errors import ConflictError, invalid

State = Literal["draft", "open", "paid", "void", "uncollectible", "credited"]
"""`draft` is a preview: it has no number, and is stored nowhere."""
Act = Literal["issue", "pay", "void", "write-off", "credit", "reopen"]
By = Literal["job", "operator", "provider"]
"""Who does it: the period close, somebody by hand, or what a payment provider says."""
Settles = Literal["due", "balance"]
"""What a credit note lowers: what is still to be paid, or the next invoice."""

_HAND: Final = frozenset[By]({"operator", "provider"})
_OPERATOR: Final = frozenset[By]({"operator"})


class Move(msgspec.Struct, frozen=True):
    """Where an act leads, and who may do it."""

    to: State
    by: frozenset[By]


_VOID: Final = "The invoice is void: it was taken back whole, and nothing is owed for it."
_CREDITED: Final = "The invoice was credited whole: nothing of it is left to be paid."
_DRAFT: Final = "This is a preview; only an invoice that was issued can be paid, credited or taken back."
_ISSUED: Final = "The invoice was issued already."

MOVES: Final[dict[tuple[State, Act], Move | str]] = {
    ("draft", "issue"): Move("open", frozenset[By]({"job"})),
    ("draft", "pay"): _DRAFT,
    ("draft", "void"): _DRAFT,
    ("draft", "write-off"): _DRAFT,
    ("draft", "credit"): _DRAFT,
    ("draft", "reopen"): _DRAFT,
    ("open", "issue"): _ISSUED,
    ("open", "pay"): Move("paid", frozenset[By]({"job", "operator", "provider"})),
    ("open", "void"): Move("void", _HAND),
    ("open", "write-off"): Move("uncollectible", _HAND),
    ("open", "credit"): Move("open", _OPERATOR),
    ("open", "reopen"): "The invoice is open already.",
    ("uncollectible", "issue"): _ISSUED,
    ("uncollectible", "pay"): Move("paid", _HAND),
    ("uncollectible", "void"): Move("void", _HAND),
    ("uncollectible", "write-off"): "The invoice was given up already.",
    ("uncollectible", "credit"): Move("uncollectible", _OPERATOR),
    ("uncollectible", "reopen"): Move("open", _HAND),
    ("paid", "issue"): _ISSUED,
    ("paid", "pay"): "The invoice is paid already.",
    ("paid", "void"): "The invoice is paid, so it cannot be taken back; credit it instead.",
    ("paid", "write-off"): "The invoice is paid.",
    ("paid", "credit"): Move("paid", _OPERATOR),
    ("paid", "reopen"): Move("open", frozenset[By]({"provider"})),
    ("void", "issue"): _VOID,
    ("void", "pay"): _VOID,
    ("void", "void"): "The invoice is void already.",
    ("void", "write-off"): _VOID,
    ("void", "credit"): _VOID,
    ("void", "reopen"): _VOID,
    ("credited", "issue"): _CREDITED,
    ("credited", "pay"): _CREDITED,
    ("credited", "void"): _CREDITED,
    ("credited", "write-off"): _CREDITED,
    ("credited", "credit"): _CREDITED,
    ("credited", "reopen"): _CREDITED,
}
"""Every state and act: where it leads and who may, or a sentence why it is refused.

Credit leads on to `credited` where nothing is left to be paid.
"""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What has become of an invoice by now. Amounts are minor units."""

    state: State
    total: int
    paid: int = 0
    credited: int = 0
    """By credit notes that lower what is to be paid."""
    returned: int = 0
    """By credit notes that lower the next invoice."""

    @property
    def due(self) -> int:
        """What is still to be paid."""
        return self.total - self.paid - self.credited if self.state in ("open", "uncollectible") else 0

    @property
    def creditable(self) -> int:
        """The most that a further credit note may be about."""
        return self.total - self.credited - self.returned


def moved(standing: Standing, act: Act, by: By) -> Standing:
    """The standing after an act other than a credit.

    Errors: ConflictError, with the table's sentence.
    """
    to = _permitted(standing, act, by)
    paid = standing.total - standing.credited if to == "paid" else 0
    return msgspec.structs.replace(standing, state=to, paid=paid)


def credited(standing: Standing, amount: int, by: By) -> tuple[Standing, Settles]:
    """The standing after a credit note, and what that lowers.

    Errors: ConflictError; InvalidError for an amount that is not more than nothing or more than there is.
    """
    to = _permitted(standing, "credit", by)
    if not 0 < amount <= standing.creditable:
        raise invalid(
            "/amount", f"A credit note is about 1 to {standing.creditable} minor units of this invoice."
        )
    if standing.state == "paid":
        return msgspec.structs.replace(standing, returned=standing.returned + amount), "balance"
    after = msgspec.structs.replace(standing, state=to, credited=standing.credited + amount)
    return msgspec.structs.replace(after, state=to if after.due else "credited"), "due"


def _permitted(standing: Standing, act: Act, by: By) -> State:
    move = MOVES[standing.state, act]
    if isinstance(move, str):
        raise ConflictError(move)
    if by not in move.by:
        who = {"job": "the period close", "operator": "hand", "provider": "a payment provider"}
        allowed = " or ".join(who[one] for one in sorted(move.by))
        raise ConflictError(f"That is done by {allowed}, not by {who[by]}.")
    return move.to


def number(series: Literal["invoice", "credit-note"], count: int) -> str:
    """The number as people read it: `INV-000042`."""
    return f"{'INV' if series == 'invoice' else 'CN'}-{count:06}"
