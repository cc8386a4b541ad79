"""Does what a plan proposes and a machine may do: once each, looked at again before, written down after.

It looks, lets the push go on, deletes a draft, voids our own duplicate that nobody paid, lays a billing
status anew. It never charges, gives money back, or raises an amount.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

import msgspec

from integrations.payments import Done, Outcome, Payments, StoppedError
from policies import errors
from policies.charging import seen
from policies.payment import laying
from policies.reconcile.classes import Act, Class
from policies.reconcile.finding import Finding
from policies.reconcile.plan import Plan, Proposal
from service.context import Caller, Context
from service.usecases import payment_facts as learning
from service.usecases import reconcile as reconciling
from service.usecases.changes import Changed
from service.usecases.reconcile import PlanView
from store import audit, charges, notices, payment_facts, postgres, reconcile, subscriptions
from store import tenants as tenant_store
from store.crash_points import crash_point
from store.reconcile import Action, ActionState

_THINGS: Final[dict[Class, seen.Kind]] = {
    "invoice_paid_missed": "invoice",
    "invoice_settled_missed": "invoice",
    "refund_unrecorded": "payment",
    "dispute_unrecorded": "dispute",
    "subscription_status": "subscription",
    "subscription_end": "subscription",
    "customer_missing": "customer",
}


class _Told(msgspec.Struct, frozen=True):
    """What came of an act."""

    state: ActionState
    told: str


_PAST: Final = _Told("past", "it does not stand any more")


async def apply(context: Context, caller: Caller, plan_id: str) -> PlanView:
    """Carries on with a plan: what was done by it already is not done again.

    Errors: NotFoundError; ConflictError for a plan that the breaker has stopped.
    """
    view = await reconciling.get(context, plan_id)
    plan = view.plan
    _refuse(plan)
    over = {one.finding_id for one in view.done if one.state != "failed"}
    for proposal in plan.actions:
        if proposal.finding_id not in over:
            await _one(context, caller, plan, proposal)
    return await reconciling.get(context, plan.plan_id)


def _refuse(plan: Plan) -> None:
    if plan.broken:
        raise errors.ConflictError(
            f"Nothing is done by this plan: too much is found of {', '.join(plan.broken)}, so something else "
            "is wrong. Find out what, and make a new plan."
        )


async def _one(context: Context, caller: Caller, plan: Plan, proposal: Proposal) -> None:
    finding, now = proposal.finding, context.clock.now()
    assert proposal.act is not None, "only what has an act is an action"
    version = None
    told = await _beforehand(context, proposal)
    crash_point("reconcile-acted")
    async with postgres.transaction(context.pool) as connection:
        if await reconcile.is_over(connection, plan.plan_id, proposal.finding_id):
            return
        if told is None and not await reconcile.stands(connection, finding):
            told = _PAST
        if told is None:
            told, version = await _here(connection, caller, proposal, now)
        action = Action(finding_id=proposal.finding_id, state=told.state, at=now, told=told.told)
        await reconcile.note(connection, plan.plan_id, action)
        await audit.append(connection, _line(caller, plan, proposal, action))
        crash_point("reconcile-noted")
    crash_point("reconcile-done")
    if version is not None:
        await context.snapshots.announce(finding.tenant_id, version)


async def _beforehand(context: Context, proposal: Proposal) -> _Told | None:
    """What is done at the provider, outside of any transaction, and may be done twice. None: nothing is."""
    if proposal.act not in _THERE:
        return None
    if context.payments is None:
        return _Told("failed", "no payment provider is configured")
    async with postgres.transaction(context.pool) as connection:
        if not await reconcile.stands(connection, proposal.finding):
            return _PAST
        if await charges.find_by_ref(connection, proposal.finding.subject) is not None:
            return _Told("past", "a charge of ours goes by it now")
    try:
        return await _THERE[proposal.act](context.payments, proposal.finding)
    except StoppedError as error:
        return _Told("failed", f"the provider does not let us in: {error}")


async def _discard(payments: Payments, finding: Finding) -> _Told:
    """Deletes a second draft, if it still is one and carries our name."""
    found = await _invoice(payments, finding)
    if isinstance(found, _Told):
        return found
    if found.status != "draft":
        return _Told("past", f"it is {found.status} now")
    return _answer(await payments.discard(found.ref, _key(finding)), "the draft was deleted")


async def _void(payments: Payments, finding: Finding) -> _Told:
    """Voids a second invoice, if still nobody has paid anything for it and no payment is under way."""
    found = await _invoice(payments, finding)
    if isinstance(found, _Told):
        return found
    if found.status not in {"open", "uncollectible"} or found.amount_paid:
        return _Told("past", f"it is {found.status} now, {found.amount_paid} are paid")
    paid = await payments.payments(found.ref)
    if not isinstance(paid, Done):
        return _Told("failed", paid.reason)
    if any(one.status != "failed" for one in paid.value):
        return _Told("past", "a payment is under way for it")
    return _answer(await payments.void(found.ref, _key(finding)), "it was voided")


_THERE: Final[dict[Act, Callable[[Payments, Finding], Awaitable[_Told]]]] = {
    "discard": _discard,
    "void": _void,
}


async def _invoice(payments: Payments, finding: Finding) -> seen.Invoice | _Told:
    """The invoice as it is now, if it is one of ours."""
    fetched = await payments.fetch(seen.Thing(kind="invoice", ref=finding.subject))
    if not isinstance(fetched, Done):
        return _Told("failed", fetched.reason)
    found = fetched.value
    if not isinstance(found, seen.Invoice) or found.invoice_id is None:
        return _Told("past", "there is no such invoice of ours any more")
    return found


def _answer(outcome: Outcome[object], told: str) -> _Told:
    if isinstance(outcome, Done):
        return _Told("done", told)
    return _Told("failed", outcome.reason)


def _key(finding: Finding) -> str:
    return f"mg1:reconcile:{finding.finding_id}"


async def _here(
    connection: postgres.Connection, caller: Caller, proposal: Proposal, now: datetime
) -> tuple[_Told, int | None]:
    """What is done with our own records; and the tenant's new snapshot version, if that is needed."""
    finding = proposal.finding
    match proposal.act:
        case "look":
            thing = seen.Thing(kind=_THINGS[finding.kind], ref=finding.subject)
            await notices.want(connection, [thing], now=now)
            return _Told("done", "it is looked at again"), None
        case "resume":
            goes = await reconcile.resume(connection, finding.tenant_id, finding.subject, now=now)
            told = "the push goes on with it" if goes else "the charge is over, or a person has stopped it"
            return _Told("done" if goes else "past", told), None
    return await _lay(connection, caller, finding, now)


async def _lay(
    connection: postgres.Connection, caller: Caller, finding: Finding, now: datetime
) -> tuple[_Told, int | None]:
    await tenant_store.lock(connection, finding.tenant_id)
    held = await subscriptions.latest(connection, finding.tenant_id)
    facts = await payment_facts.of_tenant(connection, finding.tenant_id)
    after = None if held is None else laying.laid(held.subscription, facts, now=now)
    if held is None or after is None or after == held.subscription:
        return _PAST, None
    await subscriptions.replace(connection, finding.tenant_id, held.subscription, after)
    changed = learning.status_line(finding.tenant_id, held.subscription, after, reason="reconciled")
    await audit.append(connection, _audit(caller, changed, now))
    version = await tenant_store.raise_version(connection, finding.tenant_id)
    return _Told("done", "the billing status was laid anew"), version


def _line(caller: Caller, plan: Plan, proposal: Proposal, action: Action) -> audit.Line:
    changed = Changed(
        action=f"reconcile.{proposal.act}",
        subject=f"{plan.plan_id}/{proposal.finding_id}",
        tenant_id=proposal.finding.tenant_id or None,
        before=None,
        after={"finding": proposal.finding, "state": action.state, "told": action.told},
        reason=proposal.action,
    )
    return _audit(caller, changed, action.at)


def _audit(caller: Caller, changed: Changed, now: datetime) -> audit.Line:
    fields = msgspec.structs.asdict(changed)
    return audit.Line(at=now, actor=caller.actor, request_id=caller.request_id, **fields)
