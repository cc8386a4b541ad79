"""The real thing in the words of the model: use cases on real servers, their answers as plain numbers."""

from collections.abc import Awaitable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from policies import errors, override, rollover
from policies.decision import Decision
from policies.drift import Drift
from policies.usage import Usage
from service.clock import FixedClock
from service.context import Context
from service.usecases import (
    activation,
    balances,
    check,
    consume,
    grants,
    looking,
    overrides,
    past,
    record,
    reservations,
    reserve,
    revise,
    subscribe,
    tenants,
)
from service.usecases.activation import Wish
from service.usecases.changes import Reply
from service.usecases.check import Check
from service.usecases.events import EventName
from service.usecases.fitting import Wanted
from service.usecases.looking import Scope
from service.usecases.reservations import Told
from store import certify, corrections, flush, journal, keyspace, postgres
from store.link import Link
from tests.conftest import ROOT
from tests.model.account import Answer, Ended
from tests.model.books import Books
from tests.model.carried import number_of
from tests.model.facts import Facts, RefusedError
from tests.model.ledger import Bucket, Counted, Counter, Event, Late
from tests.model.terms import DECIMALS
from tests.store.ledger import ORDER

Counters = dict[tuple[str, str], int]
"""By time window and field."""
SERVICE = "s"


def said(feature: str, scaled: int) -> int | str:
    decimals = DECIMALS[feature]
    return scaled if decimals == 0 else f"{scaled / 10**decimals:.{decimals}f}"


def heard(feature: str, number: int | str | None) -> int | None:
    return None if number is None else int(Decimal(str(number)).scaleb(DECIMALS[feature]))


class Real:
    """One tenant on real servers, at the instant of the clock."""

    def __init__(
        self, context: Context, clock: FixedClock, tenant_id: str, *, editions: Sequence[str] = ()
    ) -> None:
        """`editions` are the hashes of the catalogs that are published."""
        self.editions = editions
        self.context, self.clock, self.tenant_id = context, clock, tenant_id
        self.shard = keyspace.shard_of(tenant_id)
        self._read = "-"
        self.reservations: dict[str, str] = {}
        """The ids of reservations, by those of their events."""

    @property
    def link(self) -> Link:
        return self.context.counters.link

    # --- acts ------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """The tenant becomes known, and the first edition is sold."""
        await activation.activate(self.context, ROOT, self.editions[0], Wish(message="test"))
        await tenants.put(self.context, ORDER, self.tenant_id, tenants.Wish(name=self.tenant_id))

    async def record(self, *events: Event) -> list[str]:
        """accepted, duplicate, or why it was rejected."""
        results, _ = await record.record(self.context, [self._usage(one) for one in events])
        slugs = {"idempotency-mismatch": "mismatch"}
        return [
            one.status if one.refusal is None else slugs.get(one.refusal.slug, one.refusal.slug)
            for one in results
        ]

    async def consume(self, event: Event) -> Answer | str:
        """The decision on a use; one that is reserved is held if it is allowed."""
        wanted = Wanted(
            event_id=event.key,
            tenant_id=self.tenant_id,
            service_id=SERVICE,
            feature_id=event.feature,
            quantity=said(event.feature, event.quantity),
            entity_id=event.entity,
            timestamp=event.at,
            seconds=event.seconds,
        )
        try:
            if event.seconds is None:
                found = await consume.consume(self.context, wanted)
                assert found.consumed == found.decision.allowed
            else:
                found = await reserve.reserve(self.context, wanted)
                assert (found.reservation_id is not None) == found.decision.allowed
                if found.reservation_id is not None:
                    self.reservations[event.key] = found.reservation_id
        except errors.InvalidError:
            return "invalid"
        except errors.IdempotencyMismatchError:
            return "mismatch"
        except errors.KeyExpiredError:
            return "expired"
        return answer(found.decision)

    async def settle(self, key: str, feature: str, used: int) -> Ended | str:
        told = Told(self.reservations[key], None)
        try:
            found = await reservations.settle(self.context, told, said(feature, used))
        except errors.ConflictError:
            return "conflict"
        return Ended(found.state, heard(feature, found.quantity))

    async def release(self, key: str) -> Ended | str:
        try:
            found = await reservations.release(self.context, Told(self.reservations[key], None))
        except errors.ConflictError:
            return "conflict"
        return Ended(found.state, heard(found.feature_id, found.quantity))

    async def expire(self) -> None:
        """What the job does for this tenant."""
        if self.tenant_id in await self.context.holds.tenants_due(now=self.clock.now()):
            await self.context.holds.sweep(self.tenant_id, now=self.clock.now())

    async def revise(self, key: str, feature: str, quantity: int | None) -> str:
        """What became of it: revised, or the same as it was."""
        wish = revise.Wish(quantity=None if quantity is None else said(feature, quantity), reason="test")
        name = EventName(self.tenant_id, SERVICE, key)
        await self.flush()
        try:
            before = await self._revisions()
            await revise.revise(self.context, ORDER, name, wish)
        except errors.NotFoundError:
            return "unknown"
        except errors.ConflictError:
            return "conflict"
        return "revised" if await self._revisions() != before else "same"

    async def _revisions(self) -> list[tuple]:
        return await self.stored(
            b"select event_id, revision from usage_events where tenant_id = %s order by event_id"
        )

    async def check(self, feature: str, quantity: int, entity: str | None) -> Answer:
        (decision,) = await check.check(self.context, [self._question(feature, quantity, entity)])
        return answer(decision)

    async def past(self, feature: str, quantity: int, entity: str | None, at: datetime) -> Answer:
        return answer(await past.decided(self.context, self._question(feature, quantity, entity), at))

    async def start(self, plan: str, *, trial: bool) -> None:
        wish = subscribe.Wish(plan_id=plan, trial=trial)
        await _done(subscribe.start(self.context, ORDER, self.tenant_id, wish))

    async def publish(self, edition: int, plan: str, *, at_renewal: bool) -> None:
        wish = Wish(message="test", moves={plan: "renewal" if at_renewal else "now"})
        await activation.activate(self.context, ROOT, self.editions[edition], wish)

    async def change(self, plan: str, *, at_renewal: bool) -> None:
        move = subscribe.Move(plan_id=plan, when="renewal" if at_renewal else "now")
        await _done(subscribe.change(self.context, ORDER, self.tenant_id, move))

    async def cancel(self, *, at_renewal: bool) -> None:
        when = "periodEnd" if at_renewal else "now"
        await _done(subscribe.cancel(self.context, ORDER, self.tenant_id, when=when))

    async def resume(self) -> None:
        await _done(subscribe.resume(self.context, ORDER, self.tenant_id))

    async def give(
        self, feature: str, quantity: int, priority: int, starts: datetime, expires: datetime | None
    ) -> str:
        """The id of the grant."""
        wish = grants.Wish(
            feature_id=feature,
            quantity=said(feature, quantity),
            priority=priority,
            effective_at=starts,
            expires_at=expires,
            reason="test",
        )
        reply = await _done(grants.issue(self.context, ORDER, self.tenant_id, wish))
        return msgspec.json.decode(reply.body)["grantId"]

    async def void(self, grant_id: str) -> None:
        await _done(grants.void(self.context, ORDER, self.tenant_id, grant_id, reason="test"))

    async def override(
        self, feature: str, included: int | None, up_to: int | None, ends: datetime | None
    ) -> None:
        """All that is overridden of a feature from now on."""
        terms = [None if amount is None else said(feature, amount) for amount in (included, up_to)]
        wish = override.Wish(included=terms[0], up_to=terms[1], ends_at=ends, reason="test")
        await overrides.put(self.context, ORDER, self.tenant_id, feature, wish)

    async def lift(self, feature: str) -> None:
        await overrides.lift(self.context, ORDER, self.tenant_id, feature)

    # --- work in the background ------------------------------------------------------------------

    async def flush(self) -> None:
        pool, now = self.context.pool, self.clock.now()
        while (await flush.flush_once(pool, self.link, now=now, shards=(self.shard,))).more:
            pass
        await corrections.apply_corrections(pool, self.context.counters)

    async def leave(self) -> None:
        """It stands on no plan any more, so that no publish of another tenant's story moves it."""
        async with postgres.transaction(self.context.pool) as connection:
            for table in ("billing_accounts", "subscription_phases", "subscriptions"):
                query = f"delete from {table} where tenant_id = %s".encode()
                await connection.execute(query, (self.tenant_id,))
        await self.lose()

    async def lose(self) -> None:
        """Redis loses all of the shard."""
        keys = (await self.link.send([("KEYS", f"*{keyspace.tag(self.shard)}*")])).values[0]
        if keys:
            await self.link.send([("DEL", *keys)])

    async def wipe(self) -> None:
        """Redis loses all of the shard; what Postgres has kept comes back."""
        await self.lose()
        await certify.certify(self.context.pool, self.link, now=self.clock.now())
        self._read = "-"

    # --- what can be seen ------------------------------------------------------------------------

    async def books(self) -> dict[str, list[Books]]:
        found = await balances.of_tenant(self.context, self.tenant_id)
        return {
            one.feature_id: [_books(one.feature_id, each) for each in one.buckets] for one in found.balances
        }

    async def counters(self) -> Counters:
        """All of the tenant in Redis that are not 0."""
        prefix = keyspace.counters(self.shard, self.tenant_id, "")
        keys = (await self.link.send([("KEYS", f"{prefix}*")])).values[0]
        replies = await self.link.send([("HGETALL", key) for key in keys])
        found: Counters = {}
        for key, flat in zip(keys, replies.values, strict=True):
            window = key.decode().removeprefix(prefix)
            pairs = zip(flat[::2], flat[1::2], strict=True)
            found |= {(window, name.decode()): int(value) for name, value in pairs if int(value)}
        return found

    async def journaled(self) -> list[tuple[str, dict[str, int]]]:
        """What has come into the journal since it was looked at: ids of events and what each drew."""
        command = ("XRANGE", keyspace.journal(self.shard), self._read, "+")
        (entries,) = (await self.link.send([command])).values
        lines = []
        for entry_id, fields in entries:
            entry = journal.decode(entry_id, fields)
            assert entry.damage == ""
            ours = [line for line in entry.events if line.event.tenant_id == self.tenant_id]
            lines += [(line.event.event_id, _draws(line.draw)) for line in ours]
            self._read = f"({entry_id.decode()}"
        return lines

    async def differences(self) -> tuple[Drift, ...]:
        """What a look at the books finds: counters, holds, sums, and whether every bucket's books close."""
        found = await looking.look(self.context, [self.tenant_id], Scope(self.clock.now(), days=40))
        assert found.looked == (self.tenant_id,), found.unsure
        return found.drifts

    async def stored(self, query: bytes) -> list[tuple]:
        async with postgres.transaction(self.context.pool) as connection:
            cursor = await connection.execute(query, (self.tenant_id,))
            return await cursor.fetchall()

    # --- words -----------------------------------------------------------------------------------

    def _usage(self, event: Event) -> Usage:
        return Usage(
            tenant_id=self.tenant_id,
            service_id=SERVICE,
            event_id=event.key,
            feature_id=event.feature,
            quantity=said(event.feature, event.quantity),
            timestamp=event.at,
            entity_id=event.entity,
        )

    def _question(self, feature: str, quantity: int, entity: str | None) -> Check:
        amount = said(feature, quantity)
        return Check(tenant_id=self.tenant_id, feature_id=feature, quantity=amount, entity_id=entity)


async def _done(work: Awaitable[Reply]) -> Reply:
    try:
        return await work
    except (errors.ConflictError, errors.NotFoundError) as error:
        raise RefusedError from error


def answer(decision: Decision) -> Answer:
    """A decision as the model has it."""
    assert decision.outcome == ("allowed" if decision.allowed else "denied")
    assert not decision.degraded
    if decision.reason in ("unknown_tenant", "no_subscription", "feature_not_in_plan"):
        return Answer(allowed=False, reason=decision.reason)

    def number(value: int | str | None) -> int | None:
        return heard(decision.feature_id, value)

    assert decision.unlimited == (decision.limit is None)
    return Answer(
        allowed=decision.allowed,
        reason=decision.reason,
        granted=number(decision.granted),
        usage=number(decision.usage),
        reserved=number(decision.reserved),
        remaining=number(decision.remaining),
        overage=number(decision.overage),
        limit=number(decision.limit),
        caps=tuple(number(cap.used) for cap in decision.caps),
    )


def _books(feature: str, view: balances.BucketView) -> Books:
    parts = ("granted", "used", "reserved", "expired", "carried", "remaining")
    numbers = {part: heard(feature, getattr(view, part)) for part in parts}
    if numbers["granted"] is not None:  # R14
        assert numbers["granted"] == sum(numbers[part] for part in parts[1:])
    return Books(view.bucket, **numbers)


def _draws(draw: journal.Draw) -> dict[str, int]:
    found = {"included": draw.included, "overage": draw.overage, "excess": draw.excess}
    found |= {one.grant_id: amount for one, amount in draw.grants}
    found |= {rollover.name(number): amount for number, amount in draw.rollover}
    return {kind: amount for kind, amount in found.items() if amount}


def names(facts: Facts, counters: Mapping[Counter, int]) -> Counters:
    """The model's counters by the names that they have in Redis and Postgres."""
    return {_name(facts, counter): amount for counter, amount in counters.items()}


def _name(facts: Facts, counter: Counter) -> tuple[str, str]:
    if isinstance(counter, Counted):
        per = "tenant" if counter.entity is None else "entity"
        window = keyspace.window(counter.interval, counter.window)
        return window, keyspace.cap_field(counter.feature, per, counter.entity)
    if isinstance(counter, Bucket):
        return _name_of_bucket(facts, counter)
    window, field = _name_of_bucket(facts, counter.bucket)
    if counter.bucket.kind in ("all", "late"):
        return window, field
    of = keyspace.late_field if isinstance(counter, Late) else keyspace.reserved_field
    return window, of(field)


def _name_of_bucket(facts: Facts, bucket: Bucket) -> tuple[str, str]:
    if bucket.window is None:
        expires = facts.grants[bucket.kind].expires
        return keyspace.grant_window(expires), keyspace.grant_field(bucket.feature, bucket.kind)
    window = f"{keyspace.letter(bucket.window.interval)}.{int(bucket.window.start.timestamp())}"
    if bucket.kind.startswith("rollover"):
        return window, keyspace.generation_field(bucket.feature, number_of(bucket.kind))
    letters = {"included": "i", "overage": "o", "excess": "x", "all": "r", "late": "l"}
    return window, keyspace.bucket_field(bucket.feature, letters[bucket.kind])
