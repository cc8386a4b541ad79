-- name: cursors
-- Where each shard's journal stands. No lock: whoever finds work locks the row and looks again.
select shard, last_id, number, drained_at from flush_cursors order by shard;

-- name: numbers
-- The same of some shards alone.
select shard, last_id, number from flush_cursors where shard = any(%(shards)s);

-- name: lock_cursors
-- The right to flush these shards; rows that another flusher holds are left out.
select shard, last_id, number from flush_cursors where shard = any(%(shards)s) order by shard for update skip locked;

-- name: wait_for_cursors
-- The same for all shards, waiting for whoever holds one: while a server is certified nobody else flushes.
select shard, last_id, number, drained_at from flush_cursors where shard = any(%(shards)s) order by shard for update;

-- name: make_staging
-- Mostly they are there already, which nobody needs to be told. An id is looked up in an index, whatever the planner
-- thinks of how many there are: it knows late how a table has grown, and would read or sort the whole of it.
set local client_min_messages = warning;
set local enable_seqscan = off;
create temporary table if not exists staged_keys (
  place integer, tenant_id text, feature_id text, digest uuid, fingerprint integer, event_at timestamptz
) on commit delete rows;
create temporary table if not exists staged_hours (
  tenant_id text, feature_id text, hour_at timestamptz, service_id text, entity_id text, plan_id text,
  quantity numeric(38), events bigint
) on commit delete rows;
create temporary table if not exists staged_moves (
  tenant_id text, time_window text, field text, amount bigint, ends_at timestamptz
) on commit delete rows;

-- name: copy_keys
copy staged_keys (tenant_id, feature_id, place, digest, fingerprint, event_at) from stdin (format binary);

-- name: copy_hours
copy staged_hours (tenant_id, feature_id, hour_at, service_id, entity_id, plan_id, quantity, events) from stdin;

-- name: copy_moves
copy staged_moves (tenant_id, time_window, field, amount, ends_at) from stdin;

-- name: insert_new_keys
-- Keeps the ids where all of them are new, which they mostly are. One of this month that is known is an error; one
-- of the other months since the horizon, or of a later one, which a worker whose clock is ahead may have begun, is
-- left out. A limit keeps the look-ups from being joined otherwise than one by one.
insert into usage_keys (tenant_id, digest, ingested_month, fingerprint, event_at)
select s.tenant_id, s.digest, %(month)s, s.fingerprint, s.event_at
from staged_keys s left join lateral (
  select true as known from usage_keys k
  where k.tenant_id = s.tenant_id and k.digest = s.digest
    and (k.ingested_month >= %(horizon)s and k.ingested_month < %(month)s or k.ingested_month >= %(following)s)
  limit 1
) k on true
where k.known is null;

-- name: insert_keys
-- Keeps the ids that are new; names the staged acts that were there already, and forgets them. New is what is not
-- among the keys of the months since the horizon, nor of a later one.
with fresh as (
  insert into usage_keys (tenant_id, digest, ingested_month, fingerprint, event_at)
  select s.tenant_id, s.digest, %(month)s, s.fingerprint, s.event_at
  from staged_keys s left join lateral (
    select true as known from usage_keys k
    where k.tenant_id = s.tenant_id and k.digest = s.digest and k.ingested_month >= %(horizon)s
    limit 1
  ) k on true
  where k.known is null
  on conflict do nothing
  returning tenant_id, digest
)
delete from staged_keys s
where not exists (select from fresh f where f.tenant_id = s.tenant_id and f.digest = s.digest)
returning s.place;

-- name: copy_events
copy usage_events (
  tenant_id, service_id, feature_id, entity_id, plan_id, time_window, event_id, digest, event_at, accepted_at,
  quantity, measured, drawn_included, drawn_overage, drawn_excess, drawn_grants, drawn_rollover, properties, decided
) from stdin (format binary);

-- name: add_to_rollups
-- By the hour, and from the same sums by the day of UTC.
with hourly as (
  insert into usage_hourly as u (tenant_id, feature_id, hour_at, service_id, entity_id, plan_id, quantity, events)
  select tenant_id, feature_id, hour_at, service_id, entity_id, plan_id, quantity, events from staged_hours
  on conflict (tenant_id, feature_id, hour_at, service_id, entity_id, plan_id)
  do update set quantity = u.quantity + excluded.quantity, events = u.events + excluded.events
)
insert into usage_daily as u (tenant_id, feature_id, day, service_id, entity_id, plan_id, quantity, events)
select tenant_id, feature_id, (hour_at at time zone 'UTC')::date, service_id, entity_id, plan_id, sum(quantity), sum(events)
from staged_hours
group by 1, 2, 3, 4, 5, 6
on conflict (tenant_id, feature_id, day, service_id, entity_id, plan_id)
do update set quantity = u.quantity + excluded.quantity, events = u.events + excluded.events;

-- name: add_to_counters
insert into usage_counters as u (tenant_id, time_window, field, used, ends_at)
select tenant_id, time_window, field, amount, ends_at from staged_moves
on conflict (tenant_id, time_window, field)
do update set used = u.used + excluded.used, ends_at = greatest(u.ends_at, excluded.ends_at);

-- name: insert_correction
insert into counter_corrections (correction_id, shard, tenant_id, time_window, field, amount)
values (%(correction_id)s, %(shard)s, %(tenant_id)s, %(time_window)s, %(field)s, %(amount)s)
on conflict do nothing;

-- name: insert_rejected_duplicate
-- An id that came again with another body, or was used again, found only now: visible, not counted.
insert into usage_rejected (tenant_id, rejected_at, slug, detail, event)
values (%(tenant_id)s, %(rejected_at)s, %(slug)s, %(detail)s, %(event)s);

-- name: known_id
-- What an id came with, and of when that is.
select fingerprint, event_at from usage_keys where tenant_id = %(tenant_id)s and digest = %(digest)s
order by ingested_month desc limit 1;

-- name: advance
update flush_cursors c
set last_id = n.last_id, number = n.number, entries = c.entries + n.entries, events = c.events + n.events,
  drained_at = greatest(c.drained_at, n.drained_at)
from unnest(%(shards)s::smallint[], %(last_ids)s::text[], %(numbers)s::bigint[], %(entries)s::bigint[], %(events)s::bigint[],
  %(drained)s::timestamptz[]) as n (shard, last_id, number, entries, events, drained_at)
where c.shard = n.shard;

-- name: note_trim
-- What was committed a while ago may go; what is committed now is noted for the next time.
update flush_cursors set trim_id = next_trim_id, next_trim_id = last_id, next_trim_at = %(now)s
where shard = any(%(shards)s) and (next_trim_at is null or next_trim_at <= %(before)s);

-- name: trims
select shard, trim_id as last_id from flush_cursors where trim_id <> '0-0' order by shard;

-- name: mark_drained
-- These shards' journals were empty past their cursors at that instant.
update flush_cursors set drained_at = %(at)s where shard = any(%(shards)s)
  and (drained_at is null or drained_at < %(at)s);

-- name: pending_corrections
select correction_id, shard, tenant_id, time_window, field, amount from counter_corrections
where shard = any(%(shards)s) order by correction_id limit 10000;

-- name: corrections_waiting
select distinct shard from counter_corrections order by shard;

-- name: delete_corrections
delete from counter_corrections where correction_id = any(%(ids)s);

-- name: forget_corrections
-- A rebuild makes them needless: it puts back sums that never held the duplicate.
delete from counter_corrections where shard = any(%(shards)s);

-- name: note_late
-- The hours of closed billing periods that usage came for: the next invoice looks at them again. Whoever closes a period
-- holds the cursor, as the flush does, so that each event is either on the invoice or noted here.
insert into late_usage (tenant_id, subscription_id, feature_id, hour_at)
select distinct a.tenant_id, a.subscription_id, s.feature_id, date_trunc('hour', s.event_at, 'UTC')
from staged_keys s join billing_accounts a on a.tenant_id = s.tenant_id and s.event_at < a.closed_until
on conflict do nothing;

-- name: reached
-- Everything that was acknowledged before is here; and how much waits in the inbox.
select min(drained_at) as reached, (select count(*) from (select from usage_inbox limit 100000) as w) as waiting
from flush_cursors;
