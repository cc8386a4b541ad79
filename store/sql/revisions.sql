-- name: insert
insert into usage_revisions (
  tenant_id, event_at, digest, event_digest, revision, kind, feature_id, quantity_before, quantity, measured,
  time_window, drawn_included, drawn_overage, drawn_excess, drawn_grants, drawn_rollover, reason, actor, request, revised_at
)
values (
  %(tenant_id)s, %(event_at)s, %(digest)s, %(event_digest)s, %(revision)s, %(kind)s, %(feature_id)s,
  %(quantity_before)s, %(quantity)s, %(measured)s, %(time_window)s, %(included)s, %(overage)s, %(excess)s,
  %(grants)s::jsonb, %(rollover)s::jsonb, %(reason)s, %(actor)s, %(request)s, %(revised_at)s
);

-- name: apply
-- The event shows what holds now. After a restore several revisions of one may come together, in their order.
update usage_events
set quantity = %(quantity)s, measured = measured + %(measured)s, revision = %(revision)s, voided = %(voided)s
where tenant_id = %(tenant_id)s and event_at = %(event_at)s and digest = %(event_digest)s
  and revision < %(revision)s;

-- name: add_to_hour
-- A voided event is none any more.
update usage_hourly set quantity = quantity + %(measured)s, events = events - %(voided)s::int
where tenant_id = %(tenant_id)s and feature_id = %(feature_id)s
  and hour_at = date_trunc('hour', %(event_at)s::timestamptz, 'UTC')
  and service_id = %(service_id)s and entity_id = %(entity_id)s and plan_id = %(plan_id)s;

-- name: add_to_day
update usage_daily set quantity = quantity + %(measured)s, events = events - %(voided)s::int
where tenant_id = %(tenant_id)s and feature_id = %(feature_id)s
  and day = (%(event_at)s::timestamptz at time zone 'UTC')::date
  and service_id = %(service_id)s and entity_id = %(entity_id)s and plan_id = %(plan_id)s;

-- name: is_known
-- Whether an id has ever come.
select exists (select from usage_keys where tenant_id = %(tenant_id)s and digest = %(digest)s);

-- name: is_old
-- Whether a tenant has an event of an id that is not kept beside it any more: read through those of that time.
select exists (
  select from usage_events where tenant_id = %(tenant_id)s and digest = %(digest)s and event_at < %(before)s
);

-- name: find
-- An event with all its revisions, as one JSON document (store.revisions.RevisedEvent): found by its instant, which
-- stands beside its id.
select jsonb_build_object(
  'tenantId', e.tenant_id, 'serviceId', e.service_id, 'eventId', e.event_id, 'featureId', e.feature_id,
  'entityId', e.entity_id, 'planId', e.plan_id, 'quantity', e.quantity, 'measured', e.measured, 'eventAt', e.event_at,
  'acceptedAt', e.accepted_at, 'properties', e.properties, 'revision', e.revision, 'voided', e.voided,
  'window', e.time_window, 'booked', jsonb_build_object(
    'included', e.drawn_included, 'overage', e.drawn_overage, 'excess', e.drawn_excess,
    'grants', coalesce(e.drawn_grants, '{}'), 'rollover', coalesce(e.drawn_rollover, '{}')
  ),
  'revisions', coalesce((
    select jsonb_agg(jsonb_build_object(
      'digest', r.digest, 'revision', r.revision, 'kind', r.kind, 'quantityBefore', r.quantity_before,
      'quantity', r.quantity, 'drawn', jsonb_build_object(
        'included', r.drawn_included, 'overage', r.drawn_overage, 'excess', r.drawn_excess,
        'grants', coalesce(r.drawn_grants, '{}'), 'rollover', coalesce(r.drawn_rollover, '{}')
      ),
      'reason', r.reason, 'actor', r.actor, 'request', r.request, 'revisedAt', r.revised_at
    ) order by r.revision)
    from usage_revisions r
    where r.tenant_id = e.tenant_id and r.event_at = e.event_at and r.event_digest = e.digest
  ), '[]')
)::text
from usage_events e
where e.tenant_id = %(tenant_id)s and e.digest = %(digest)s and e.event_at = any(array(
  select k.event_at from usage_keys k where k.tenant_id = %(tenant_id)s and k.digest = %(digest)s
));

-- name: others
-- What the other events of a period make of its level, and from how many acts that is found: their highest quantity,
-- how many have a value, how many acts were counted.
select coalesce(max(quantity), 0)::bigint as highest,
  count(*) filter (where properties ->> %(property)s::text = %(value)s) as alike,
  coalesce((
    select used from usage_counters
    where tenant_id = %(tenant_id)s and time_window = %(time_window)s and field = %(acts)s
  ), 0) as acts
from usage_events
where tenant_id = %(tenant_id)s and feature_id = %(feature_id)s and time_window = %(time_window)s
  and event_at >= %(start)s and not voided
  and not (service_id = %(service_id)s and event_id = %(event_id)s);
