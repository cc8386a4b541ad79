-- name: adopt
-- Subscriptions that are older than invoices are billed from now on.
update billing_accounts
set billed_from = greatest(billed_from, %(now)s), closed_until = greatest(billed_from, %(now)s)
where look_at = '-infinity' and closed_until = '-infinity';

-- name: due
-- Tenants with a subscription whose period may be over, shard by shard.
select distinct t.shard, a.tenant_id
from billing_accounts a join tenants t using (tenant_id)
where a.look_at <= %(now)s
order by t.shard, a.tenant_id limit %(limit)s;

-- name: lock_shards
-- Nothing of these shards is flushed until the transaction ends; until when everything acknowledged is here (R35).
select shard, drained_at from flush_cursors where shard = any(%(shards)s) order by shard for update;

-- name: lock_tenants
-- What stands on an invoice of these tenants. Whoever changes one of them waits, as it will for its subscriptions: so
-- none of the two ever waits for the other in a ring.
select tenant_id, name, email from tenants where tenant_id = any(%(tenants)s) order by tenant_id for key share;

-- name: lock_accounts
-- Subscriptions to be looked at, held until the transaction ends; those of tenants whose usage waits in the inbox are not.
select a.tenant_id, a.subscription_id, a.billed_from, a.closed_until, a.period_no
from billing_accounts a
where a.tenant_id = any(%(tenants)s) and a.look_at <= %(now)s and a.closed_until > '-infinity'
  and not exists (select from usage_inbox w where w.tenant_id = a.tenant_id)
order by a.tenant_id, a.subscription_id for update;

-- name: account
-- How far a subscription is billed.
select tenant_id, subscription_id, billed_from, closed_until, period_no from billing_accounts
where tenant_id = %(tenant_id)s and subscription_id = %(subscription_id)s and closed_until > '-infinity';

-- name: counters
-- The flushed sums behind these counters; one without usage has no row. Names come line by line: a list of so many takes
-- the driver longer to write than this takes to answer.
select c.tenant_id, c.time_window, c.field, c.used
from unnest(
  string_to_array(%(tenants)s::text, chr(10)), string_to_array(%(windows)s::text, chr(10)),
  string_to_array(%(fields)s::text, chr(10))
) as w (tenant_id, time_window, field)
  join usage_counters c using (tenant_id, time_window, field);

-- name: uncounted
-- What came or was revised so late that it moved no counter, by instant: events as they stand, and revisions of others.
select tenant_id, feature_id, event_at, sum(measured)::bigint as amount
from (
  select tenant_id, feature_id, event_at, measured from usage_events
  where time_window = '' and tenant_id = any(%(tenants)s) and event_at >= %(start)s and event_at < %(end)s
  union all
  select r.tenant_id, r.feature_id, r.event_at, r.measured from usage_revisions r
  where r.time_window = '' and r.tenant_id = any(%(tenants)s) and r.event_at >= %(start)s and r.event_at < %(end)s
    and exists (
      select from usage_events e
      where e.tenant_id = r.tenant_id and e.event_at = r.event_at and e.digest = r.event_digest and e.time_window <> ''
    )
) u
group by tenant_id, feature_id, event_at order by event_at;

-- name: charged_prices
-- The lines by which earlier invoices of these subscriptions charged prices whose billing period goes on.
select i.tenant_id, i.subscription_id, l.body::text as body
from unnest(%(tenants)s::text[], %(subscriptions)s::text[], %(since)s::timestamptz[])
    as w (tenant_id, subscription_id, since)
  join invoices i using (tenant_id, subscription_id)
  join invoice_lines l using (tenant_id, invoice_id)
where l.kind in ('plan', 'addon') and l.end_at > w.since
order by i.number, l.line_no;

-- name: late
-- The hours of closed periods that usage came for since.
select l.tenant_id, l.subscription_id, l.feature_id, l.hour_at
from unnest(%(tenants)s::text[], %(subscriptions)s::text[]) as w (tenant_id, subscription_id)
  join late_usage l using (tenant_id, subscription_id)
order by l.tenant_id, l.subscription_id, l.feature_id, l.hour_at;

-- name: forget_late
delete from late_usage l
using unnest(%(tenants)s::text[], %(subscriptions)s::text[]) as w (tenant_id, subscription_id)
where l.tenant_id = w.tenant_id and l.subscription_id = w.subscription_id;

-- name: periods_since
-- The closed periods of a subscription that ended after an instant.
select period_no, start_at, end_at, uses::text as uses from billing_periods
where tenant_id = %(tenant_id)s and subscription_id = %(subscription_id)s and end_at > %(since)s
order by period_no;

-- name: adjust_period
-- The overage of a closed period as it is invoiced by now.
update billing_periods set uses = %(uses)s::jsonb
where tenant_id = %(tenant_id)s and subscription_id = %(subscription_id)s and period_no = %(period_no)s;

-- name: copy_periods
copy billing_periods (tenant_id, subscription_id, period_no, start_at, end_at, closed_at, uses) from stdin;

-- name: move_accounts
-- How far these subscriptions are billed by now, and when to look at them again.
update billing_accounts a
set closed_until = n.closed_until, period_no = n.period_no, look_at = coalesce(n.look_at, 'infinity')
from unnest(%(tenants)s::text[], %(subscriptions)s::text[], %(closed)s::timestamptz[], %(numbers)s::integer[],
  %(look)s::timestamptz[]) as n (tenant_id, subscription_id, closed_until, period_no, look_at)
where a.tenant_id = n.tenant_id and a.subscription_id = n.subscription_id;
