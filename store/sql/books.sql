-- name: cursor
-- The journal entry up to which the sums go.
select last_id from flush_cursors where shard = %(shard)s;

-- name: windows
-- The time windows of tenants, and how many counters each has.
select tenant_id, time_window, count(*) as fields from usage_counters
where tenant_id = any(%(tenants)s) and ends_at > %(since)s
group by 1, 2 order by 1, 2;

-- name: fields
-- The counters of a large window by name, page by page.
select field from usage_counters
where tenant_id = %(tenant_id)s and time_window = %(time_window)s and field > %(after)s
order by field limit %(limit)s;

-- name: sums
-- The sums of whole windows. Of those that no act may touch any more Redis may have lost the counter.
select c.tenant_id, c.time_window, c.field, c.used,
  c.ends_at > %(since)s and (c.ends_at > %(capped_since)s or c.field !~ '^[^:]+:(c$|e:)') as kept
from usage_counters c
join unnest(%(tenants)s::text[], %(windows)s::text[]) as w (tenant_id, time_window) using (tenant_id, time_window);

-- name: sums_of_fields
-- The same of some counters of a large window.
select c.tenant_id, c.time_window, c.field, c.used,
  c.ends_at > %(since)s and (c.ends_at > %(capped_since)s or c.field !~ '^[^:]+:(c$|e:)') as kept
from usage_counters c
where c.tenant_id = %(tenant_id)s and c.time_window = %(time_window)s and c.field = any(%(fields)s);

-- name: corrections
-- What Redis has counted twice and does not know of, or knows of by now.
select correction_id, shard, tenant_id, time_window, field, amount from counter_corrections
where shard = %(shard)s and tenant_id = any(%(tenants)s)
order by correction_id;

-- name: open_reservations
-- The open reservations of tenants.
select tenant_id, digest, reserve from reservations
where shard = %(shard)s and state = 'open' and tenant_id = any(%(tenants)s);

-- name: drawn_in_window
-- What the events of a time window have drawn of a feature's buckets, the third witness of its counters.
select coalesce(sum(drawn_included), 0)::bigint as included, coalesce(sum(drawn_overage), 0)::bigint as overage,
  coalesce(sum(drawn_excess), 0)::bigint as excess
from usage_draws
where tenant_id = %(tenant_id)s and feature_id = %(feature_id)s and time_window = %(time_window)s
  and event_at >= %(start)s;

-- name: drawn_of_rollover
-- The same of a generation of what earlier periods carried.
select coalesce(sum((drawn_rollover ->> %(name)s::text)::bigint), 0)::bigint from usage_draws
where tenant_id = %(tenant_id)s and feature_id = %(feature_id)s and time_window = %(time_window)s
  and event_at >= %(start)s;

-- name: drawn_of_grant
-- The same of a grant, over its whole life.
select coalesce(sum((drawn_grants ->> %(name)s::text)::bigint), 0)::bigint from usage_draws
where tenant_id = %(tenant_id)s and feature_id = %(feature_id)s and drawn_grants ? %(name)s::text;

-- name: lost_entries
-- What is known of a shard's journal since an instant: entries that were put aside and not applied since, and numbers that
-- were missed.
select entry_id || ' (put aside)' from journal_quarantine
where shard = %(shard)s and found_at >= %(since)s and ended_as is distinct from 'applied'
union all
select subject || ' (' || kind || ')' from incidents
where shard = %(shard)s and found_at >= %(since)s and kind in ('entries-lost', 'journal-gap')
limit 20;

-- name: days_that_differ
-- Days whose sum is not that of their hours.
with hours as (
  select tenant_id, feature_id, (hour_at at time zone 'UTC')::date as day, service_id, entity_id, plan_id,
    sum(quantity) as quantity, sum(events) as events
  from usage_hourly
  where tenant_id = any(%(tenants)s) and hour_at >= %(first_day)s::date::timestamp at time zone 'UTC'
  group by 1, 2, 3, 4, 5, 6
),
days as (
  select * from usage_daily where tenant_id = any(%(tenants)s) and day >= %(first_day)s
)
select tenant_id, feature_id, day::text as place, service_id, entity_id, plan_id,
  coalesce(h.quantity, 0)::text as expected, coalesce(h.events, 0)::bigint as expected_events,
  coalesce(d.quantity, 0)::text as actual, coalesce(d.events, 0)::bigint as actual_events
from hours h full join days d using (tenant_id, feature_id, day, service_id, entity_id, plan_id)
where (coalesce(h.quantity, 0), coalesce(h.events, 0)) <> (coalesce(d.quantity, 0), coalesce(d.events, 0))
limit %(limit)s;

-- name: hours_that_differ
-- Hours whose sum is not that of their events.
with events as (
  select tenant_id, feature_id, date_trunc('hour', event_at, 'UTC') as hour_at, service_id, entity_id, plan_id,
    sum(measured) as quantity, count(*) filter (where not voided) as events
  from usage_events
  where tenant_id = any(%(tenants)s) and event_at >= %(first_day)s::date::timestamp at time zone 'UTC'
  group by 1, 2, 3, 4, 5, 6
),
hours as (
  select * from usage_hourly
  where tenant_id = any(%(tenants)s) and hour_at >= %(first_day)s::date::timestamp at time zone 'UTC'
)
select tenant_id, feature_id, to_char(hour_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24') as place,
  service_id, entity_id, plan_id,
  coalesce(e.quantity, 0)::text as expected, coalesce(e.events, 0)::bigint as expected_events,
  coalesce(h.quantity, 0)::text as actual, coalesce(h.events, 0)::bigint as actual_events
from events e full join hours h using (tenant_id, feature_id, hour_at, service_id, entity_id, plan_id)
where (coalesce(e.quantity, 0), coalesce(e.events, 0)) <> (coalesce(h.quantity, 0), coalesce(h.events, 0))
limit %(limit)s;

-- name: unknown_windows
-- Those that Postgres has no counter of.
select w.tenant_id, w.time_window from unnest(%(tenants)s::text[], %(windows)s::text[]) as w (tenant_id, time_window)
where not exists (
  select from usage_counters c where c.tenant_id = w.tenant_id and c.time_window = w.time_window
);
