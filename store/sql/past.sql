-- name: active_hash
-- The catalog that was active at an instant.
select hash from catalog_activations where activated_at <= %(at)s order by activation desc limit 1;

-- name: snapshot
-- What held of a tenant at an instant, as one JSON document (policies.snapshot.Snapshot): subscriptions as they
-- stand, with the phases that had begun and the one that came next; billing statuses, grants and overrides of that
-- instant, and those before it by which a period may have carried something; what was written about the tenant by then.
select jsonb_build_object(
  'tenantId', t.tenant_id, 'version', t.snapshot_version,
  'known', t.created_at <= %(at)s or exists (
    select from subscription_phases f where f.tenant_id = t.tenant_id and f.start_at <= %(at)s
  ),
  'closed', coalesce(t.closed_at <= %(at)s, false),
  'metadata', coalesce((
    select a.after -> 'metadata' from audit a
    where a.tenant_id = t.tenant_id and a.subject = t.tenant_id and starts_with(a.action, 'tenant.') and a.at <= %(at)s
    order by a.seq desc limit 1
  ), '{}'),
  'subscriptions', coalesce((
    select jsonb_agg(jsonb_build_object(
      'id', s.subscription_id, 'anchoredAt', s.anchored_at, 'createdAt', s.created_at,
      'trialEndsAt', s.trial_ends_at,
      'phases', (
        select jsonb_agg(jsonb_build_object(
          'planId', p.plan_id, 'planVersion', p.plan_version, 'start', p.start_at, 'end', p.end_at,
          'addons', p.addons
        ) order by p.start_at)
        from (
          select * from subscription_phases f
          where f.tenant_id = s.tenant_id and f.subscription_id = s.subscription_id
            and f.start_at <= coalesce((
              select min(n.start_at) from subscription_phases n
              where n.tenant_id = s.tenant_id and n.subscription_id = s.subscription_id and n.start_at > %(at)s
            ), %(at)s)
          order by f.start_at desc limit %(phases)s
        ) p
      ),
      'billing', (
        select coalesce(jsonb_agg(jsonb_build_object(
          'status', b.status, 'since', b.since, 'reason', b.reason, 'happenedAt', b.happened_at
        ) order by b.since), '[]')
        from (
          select * from billing_statuses f
          where f.tenant_id = s.tenant_id and f.subscription_id = s.subscription_id and f.since <= %(at)s
          order by f.since desc limit %(billing)s
        ) b
      )
    ) order by s.created_at, s.subscription_id)
    from (
      select * from subscriptions l
      where l.tenant_id = t.tenant_id and exists (
        select from subscription_phases f
        where f.tenant_id = l.tenant_id and f.subscription_id = l.subscription_id and f.start_at <= %(at)s
      )
      order by l.created_at desc limit %(phases)s
    ) s
  ), '[]'),
  'grants', coalesce((
    select jsonb_agg(jsonb_build_object(
      'id', g.grant_id, 'featureId', g.feature_id, 'quantity', g.quantity, 'priority', g.priority,
      'effectiveAt', g.effective_at, 'expiresAt', g.expires_at, 'createdAt', g.created_at, 'reason', g.reason
    ) order by g.effective_at, g.grant_id)
    from grants g
    where g.tenant_id = t.tenant_id and g.feature_id = %(feature_id)s and g.effective_at <= %(at)s
      and coalesce(least(g.expires_at, g.voided_at) > %(at)s, true)
  ), '[]'),
  'overrides', coalesce((
    select jsonb_agg(o.terms || jsonb_build_object(
      'id', o.override_id, 'featureId', o.feature_id, 'reason', o.reason, 'startsAt', o.starts_at,
      'endsAt', case when least(o.ends_at, o.lifted_at) <= %(at)s then least(o.ends_at, o.lifted_at) else o.ends_at end
    ))
    from overrides o
    where o.tenant_id = t.tenant_id and o.feature_id = %(feature_id)s and o.starts_at <= %(at)s
      and coalesce(least(o.ends_at, o.lifted_at) > greatest(o.starts_at, %(carried_since)s), true)
  ), '[]')
)::text
from tenants t where t.tenant_id = %(tenant_id)s;

-- name: drawn
-- What events up to an instant, as they stand today, drew from the buckets of a usage period.
select coalesce(sum(drawn_included), 0)::bigint as included, coalesce(sum(drawn_overage), 0)::bigint as overage,
  coalesce(sum(drawn_excess), 0)::bigint as excess
from usage_draws
where tenant_id = %(tenant_id)s and feature_id = %(feature_id)s and time_window = %(time_window)s
  and event_at >= %(start)s and event_at <= %(at)s;

-- name: level
-- What events up to an instant brought a level to: the highest quantity, or the number of values of a property.
select case when %(property)s::text is null then coalesce(max(quantity), 0)
  else count(distinct properties ->> %(property)s::text) end::bigint
from usage_events
where tenant_id = %(tenant_id)s and feature_id = %(feature_id)s and time_window = %(time_window)s
  and event_at >= %(start)s and event_at <= %(at)s and not voided;

-- name: drawn_from_grants
-- What events up to an instant drew from grants, over their lives.
select g.key as grant_id, sum(g.value::bigint)::bigint as amount
from usage_draws d cross join jsonb_each_text(d.drawn_grants) g
where d.tenant_id = %(tenant_id)s and d.feature_id = %(feature_id)s and d.drawn_grants is not null
  and d.event_at >= %(start)s and d.event_at <= %(at)s and g.key = any(%(grants)s)
group by g.key;

-- name: drawn_in_time
-- What events drew from what a period that ended included, apart from what was late for what it carries: overage from its
-- end on, all else from its seal on.
select (coalesce(sum(drawn_included) filter (where booked_at < %(sealed)s), 0)
  + coalesce(sum(drawn_overage) filter (where booked_at < %(ended)s), 0))::bigint
from usage_draws
where tenant_id = %(tenant_id)s and feature_id = %(feature_id)s and time_window = %(time_window)s
  and event_at >= %(start)s and event_at <= %(at)s;

-- name: drawn_from_generations
-- What events up to an instant drew from what earlier periods carried into theirs; with a seal, what came before it.
select g.key::int as generation, sum(g.value::bigint)::bigint as amount
from usage_draws d cross join jsonb_each_text(d.drawn_rollover) g
where d.tenant_id = %(tenant_id)s and d.feature_id = %(feature_id)s and d.time_window = %(time_window)s
  and d.drawn_rollover is not null and d.event_at >= %(start)s and d.event_at <= %(at)s
  and (%(sealed)s::timestamptz is null or d.booked_at < %(sealed)s)
group by g.key;

-- name: measured
-- What was used in spans of time up to an instant, by the tenant or by one entity; never more than a counter holds.
select least(coalesce(sum(measured), 0), %(most)s)::bigint from usage_events e
where tenant_id = %(tenant_id)s and feature_id = %(feature_id)s and event_at <= %(at)s
  and (%(entity_id)s::text is null or entity_id = %(entity_id)s)
  and event_at >= %(start)s
  and exists (
    select from unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) as w (begins, ends)
    where e.event_at >= w.begins and e.event_at < w.ends
  );
