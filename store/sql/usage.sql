-- name: seen
-- Which of these ids Postgres knows, and the fingerprint of the body each came with.
select k.tenant_id, k.digest::text as digest, k.fingerprint
from usage_keys k join unnest(%(tenants)s::text[], %(digests)s::uuid[]) as w (tenant_id, digest) using (tenant_id, digest)
where k.ingested_month >= %(horizon)s;

-- name: decided_use
-- A use with its quantity of then, and what it was decided on if it was consumed, as one JSON document
-- (store.usage.DecidedUse).
select jsonb_build_object(
  'feature_id', feature_id, 'entity_id', entity_id, 'quantity', coalesce((
    select quantity_before from usage_revisions r
    where r.tenant_id = e.tenant_id and r.event_at = e.event_at and r.event_digest = e.digest
    order by r.revision limit 1
  ), quantity), 'event_at', event_at, 'accepted_at', accepted_at, 'decided', decided
)::text
from usage_events e
where tenant_id = %(tenant_id)s and digest = %(digest)s and event_at = any(array(
  select k.event_at from usage_keys k where k.tenant_id = %(tenant_id)s and k.digest = %(digest)s
));

-- name: insert_rejected
insert into usage_rejected (tenant_id, rejected_at, slug, detail, event)
select * from unnest(%(tenants)s::text[], %(at)s::timestamptz[], %(slugs)s::text[], %(details)s::text[], %(events)s::jsonb[]);

-- name: series
-- Usage by group and step, over whole hours: its whole days from the sums by the day, the rest before and after them
-- from those by the hour. Steps without usage are left out.
select case %(group_by)s when 'service' then service_id when 'entity' then entity_id when 'tenant' then tenant_id
    when 'plan' then plan_id else feature_id end as key,
  date_trunc(%(step)s, at, 'UTC') as at, sum(quantity)::text as quantity, sum(events)::bigint as events
from (
  select tenant_id, feature_id, service_id, entity_id, plan_id, day::timestamp at time zone 'UTC' as at, quantity, events
  from usage_daily where day >= %(first_day)s and day < %(day_after)s
  union all
  select tenant_id, feature_id, service_id, entity_id, plan_id, hour_at, quantity, events
  from usage_hourly where hour_at >= %(start)s and hour_at < %(days_start)s
  union all
  select tenant_id, feature_id, service_id, entity_id, plan_id, hour_at, quantity, events
  from usage_hourly where hour_at >= %(days_end)s and hour_at < %(end)s
) sums
where (%(tenant_id)s::text is null or tenant_id = %(tenant_id)s)
  and (%(feature_id)s::text is null or feature_id = %(feature_id)s)
group by 1, 2
order by 1, 2
limit %(limit)s;

-- name: flushed_through
-- Everything acknowledged before this instant is in the reports: for one shard, or for all. What waits in the inbox
-- was acknowledged when it arrived.
select least(min(drained_at), (select min(arrived_at) from usage_inbox)) from flush_cursors
where %(shard)s::smallint is null or shard = %(shard)s
having count(drained_at) = case when %(shard)s::smallint is null then 256 else 1 end;

-- name: events
-- A tenant's events, newest first, after a cursor of instant and digest.
select tenant_id, service_id, event_id, feature_id, entity_id, quantity, event_at, accepted_at, plan_id,
  properties::text as properties, digest::text as digest, revision, voided
from usage_events
where tenant_id = %(tenant_id)s and (%(feature_id)s::text is null or feature_id = %(feature_id)s)
  and (event_at, digest) < (%(before_at)s, %(before_digest)s::uuid)
order by event_at desc, digest desc
limit %(limit)s;

-- name: rejected
select rejected_id, tenant_id, rejected_at, slug, detail, event::text as event from usage_rejected
where (%(tenant_id)s::text is null or tenant_id = %(tenant_id)s) and rejected_id < %(before)s
order by rejected_id desc
limit %(limit)s;
