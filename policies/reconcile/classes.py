"""The classes of drift between our invoices, billing statuses and a payment provider: one row each.

What a machine may do is little: look again, let the push go on where it stood, delete or void a duplicate of
ours that nobody has paid, lay a billing status anew. Nothing here charges, gives money back, or raises an
amount; what would, is put before a person.
"""

from typing import Final, Literal

import msgspec

Class = Literal[
    "item_missing",
    "item_duplicate",
    "item_amount",
    "item_foreign",
    "item_pending",
    "invoice_total",
    "invoice_missing",
    "invoice_duplicate_draft",
    "invoice_duplicate_unpaid",
    "invoice_duplicate_paid",
    "invoice_unknown",
    "invoice_foreign",
    "invoice_finalized_early",
    "invoice_paid_missed",
    "invoice_settled_missed",
    "invoice_unpaid_there",
    "invoice_open_stale",
    "paid_amount",
    "payment_orphan",
    "refund_unrecorded",
    "credit_note_unrecorded",
    "dispute_unrecorded",
    "subscription_status",
    "subscription_end",
    "subscription_twice",
    "subscription_zombie",
    "customer_missing",
    "customer_duplicate",
    "customer_metadata_lost",
    "price_differs",
    "operation_stuck",
    "look_stuck",
    "notice_gap",
    "endpoint_off",
    "endpoint_version",
    "livemode_mismatch",
    "status_unknown",
    "status_stale",
    "status_by_hand",
]
Act = Literal["look", "resume", "discard", "void", "lay"]
"""Look afresh; let the push go on; delete a draft; void what nobody paid; lay a billing status anew."""
ACTS: Final[tuple[Act, ...]] = ("look", "resume", "discard", "void", "lay")
"""None of them charges, gives money back, or raises an amount."""


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """What a class means, and what may be done. Without an act somebody has to decide."""

    means: str
    action: str
    """What would end it."""
    act: Act | None = None
    why_safe: str = ""
    """Why a machine may do it; empty exactly where it may not."""


_LOOK: Final = "Looking moves no money; what is so there becomes our state by the table of states."
_RESUME: Final = (
    "The push looks before it sends, compares before it makes binding, and pays by its own days only."
)

KINDS: Final[dict[Class, Kind]] = {
    "item_missing": Kind(
        means="A draft lacks a line.", action="let the push add it", act="resume", why_safe=_RESUME
    ),
    "item_duplicate": Kind(
        means="A draft has a line twice.",
        action="let the push drop the second one",
        act="resume",
        why_safe=_RESUME,
    ),
    "item_amount": Kind(
        means="A line of a draft has another amount than we sent.",
        action="find out who changed it; take it off and let the push add it again, or accept it",
    ),
    "item_foreign": Kind(
        means="A draft of ours has a line that we did not send.",
        action="find out whose it is, and take it off; the invoice is not made binding with it",
    ),
    "item_pending": Kind(
        means="A line waits at the provider on no invoice.",
        action="find out whose it is, and delete it there, or invoice it; our drafts never take it along",
    ),
    "invoice_total": Kind(
        means="The lines of a binding invoice do not add up to ours.",
        action="credit the difference, or invoice it",
    ),
    "invoice_missing": Kind(
        means="The provider has no such invoice any more.",
        action="let the push find it or begin it anew, if it was a draft; else look where it went",
        act="resume",
        why_safe=_RESUME,
    ),
    "invoice_duplicate_draft": Kind(
        means="A second draft for an invoice of ours.",
        action="delete it",
        act="discard",
        why_safe="A draft binds nobody and was never sent; the other one stays.",
    ),
    "invoice_duplicate_unpaid": Kind(
        means="A second binding invoice for one of ours, which nobody has paid.",
        action="void it",
        act="void",
        why_safe="It is ours, nothing was paid for it, and the other one stays.",
    ),
    "invoice_duplicate_paid": Kind(
        means="A second invoice for one of ours, and it was paid: the tenant paid twice.",
        action="give the money back",
    ),
    "invoice_unknown": Kind(
        means="An invoice that carries our name, of which we have no record.",
        action="look whether our records were put back to before it; adopt it or void it",
    ),
    "invoice_foreign": Kind(
        means="An invoice of a customer of ours that somebody made elsewhere.", action="nothing; know of it"
    ),
    "invoice_finalized_early": Kind(
        means="An invoice is binding that we still assemble.",
        action="let the push compare its lines: it goes on if they are ours, and stops for a person if not",
        act="resume",
        why_safe=_RESUME,
    ),
    "invoice_paid_missed": Kind(
        means="It is paid there, and not here.", action="look again", act="look", why_safe=_LOOK
    ),
    "invoice_settled_missed": Kind(
        means="It was taken back or given up there, and not here.",
        action="look again",
        act="look",
        why_safe=_LOOK,
    ),
    "invoice_unpaid_there": Kind(
        means="It is settled here, and can still be paid there.",
        action="let the push take it back",
        act="resume",
        why_safe="The push voids what is settled here; it asks for no money.",
    ),
    "invoice_open_stale": Kind(
        means="It is open on both sides, and its next attempt is long past.",
        action="let the push go on",
        act="resume",
        why_safe=_RESUME,
    ),
    "paid_amount": Kind(
        means="Another amount was paid than was owed.", action="decide by where the money came from"
    ),
    "payment_orphan": Kind(
        means="A customer of ours paid for no invoice.", action="find out what it was for"
    ),
    "refund_unrecorded": Kind(
        means="Money was given back, and we do not know of it.",
        action="look again",
        act="look",
        why_safe=_LOOK,
    ),
    "credit_note_unrecorded": Kind(
        means="A credit note lowers an invoice there, and we have none.",
        action="write the same credit note here, or take it back there",
    ),
    "dispute_unrecorded": Kind(
        means="A dispute stands otherwise there than we know, or we do not know of it.",
        action="look again",
        act="look",
        why_safe=_LOOK,
    ),
    "subscription_status": Kind(
        means="A subscription that the provider bills stands otherwise there than we know.",
        action="look again",
        act="look",
        why_safe=_LOOK,
    ),
    "subscription_end": Kind(
        means="A subscription that the provider bills ends at another time than we know.",
        action="look again",
        act="look",
        why_safe=_LOOK,
    ),
    "subscription_twice": Kind(
        means="The provider bills a tenant by two subscriptions at once.",
        action="find out which one is meant, and end the other",
    ),
    "subscription_zombie": Kind(
        means="The provider still bills a subscription of a tenant that has ended here.",
        action="end it there",
    ),
    "customer_missing": Kind(
        means="The customer was deleted at the provider.", action="look again", act="look", why_safe=_LOOK
    ),
    "customer_duplicate": Kind(
        means="A tenant has two customers at the provider.",
        action="find out which one pays, and delete the other; charge neither until then",
    ),
    "customer_metadata_lost": Kind(
        means="A customer does not carry the id of its tenant, or carries another's.",
        action="write the tenant's id into its metadata",
    ),
    "operation_stuck": Kind(
        means="Nobody knows for half an hour whether an order was carried out.",
        action="let the push look",
        act="resume",
        why_safe=_RESUME,
    ),
    "price_differs": Kind(
        means="A price that the provider keeps under the name of a plan is not that of the plan.",
        action="mend it there, if the provider bills anybody by it; our invoices carry amounts and need none",
    ),
    "look_stuck": Kind(
        means="A thing cannot be looked at, however often it is tried.",
        action="read why, and mend that; it is tried again all the time",
    ),
    "notice_gap": Kind(
        means="Something that happened did not reach us, and was only found by asking.",
        action="look whether the endpoint is enabled, reachable, and sends all types of events",
    ),
    "endpoint_off": Kind(
        means="The provider sends no notices to us.",
        action="make or enable the endpoint; until then everything is found by asking, minutes later",
    ),
    "endpoint_version": Kind(
        means="The endpoint writes in another version of the provider's API than the one that is pinned.",
        action="make a second endpoint in the pinned version, then delete this one",
    ),
    "livemode_mismatch": Kind(
        means="A thing is of live mode and the account is not, or the other way round.",
        action="write nothing until somebody has looked at the keys",
    ),
    "status_unknown": Kind(
        means="The provider shows a state that nobody knows here.",
        action="learn what it means; what was known before counts until then",
    ),
    "status_stale": Kind(
        means="The billing status is not what payment facts say.",
        action="lay it anew",
        act="lay",
        why_safe="It follows from facts that are written already, by one rule.",
    ),
    "status_by_hand": Kind(
        means="A word by hand is kinder than payments are.", action="look whether its reason still holds"
    ),
}

OF_CHARGES: Final = frozenset[Class](
    {
        "item_missing",
        "item_duplicate",
        "item_amount",
        "item_foreign",
        "invoice_total",
        "invoice_missing",
        "invoice_finalized_early",
        "invoice_paid_missed",
        "invoice_settled_missed",
        "invoice_unpaid_there",
        "invoice_open_stale",
        "paid_amount",
        "operation_stuck",
        "look_stuck",
        "notice_gap",
    }
)
"""Those that show by our records and by asking for our charges by name; others need the provider's lists."""


def covered(*, listed: bool, unread: bool, believed: bool) -> frozenset[Class]:
    """The classes of which a look that has not found anything says that there is nothing."""
    if unread or not believed:
        return frozenset()
    return frozenset(KINDS) if listed else OF_CHARGES
