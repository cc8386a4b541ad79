-- name: snapshots
-- All that a decision needs to know of each of these tenants, as JSON (policies.snapshot.Snapshot).
select jsonb_build_object(
  'tenantId', t.tenant_id, 'version', t.snapshot_version, 'known', true,
  'closed', t.closed_at is not null, 'metadata', t.metadata,
  'subscriptions', coalesce((
    select jsonb_agg(jsonb_build_object(
      'id', s.subscription_id, 'anchoredAt', s.anchored_at, 'createdAt', s.created_at,
      'trialEndsAt', s.trial_ends_at,
      'phases', (
        select coalesce(jsonb_agg(jsonb_build_object(
          'planId', p.plan_id, 'planVersion', p.plan_version, 'start', p.start_at, 'end', p.end_at,
          'addons', p.addons
        ) order by p.start_at), '[]')
        from (
          select * from subscription_phases f
          where f.tenant_id = s.tenant_id and f.subscription_id = s.subscription_id
          order by f.start_at desc limit %(phases)s
        ) p
      ),
      'billing', (
        select coalesce(jsonb_agg(jsonb_build_object(
          'status', b.status, 'since', b.since, 'reason', b.reason, 'happenedAt', b.happened_at
        ) order by b.since), '[]')
        from (
          select * from billing_statuses f
          where f.tenant_id = s.tenant_id and f.subscription_id = s.subscription_id
          order by f.since desc limit %(billing)s
        ) b
      )
    ) order by s.created_at, s.subscription_id)
    from (
      select * from subscriptions l where l.tenant_id = t.tenant_id order by l.created_at desc limit %(phases)s
    ) s
  ), '[]'),
  'grants', coalesce((
    select jsonb_agg(jsonb_build_object(
      'id', g.grant_id, 'featureId', g.feature_id, 'quantity', g.quantity, 'priority', g.priority,
      'effectiveAt', g.effective_at, 'expiresAt', g.expires_at, 'createdAt', g.created_at,
      'voidedAt', g.voided_at, 'reason', g.reason
    ) order by g.effective_at, g.grant_id)
    from (
      select * from grants f
      where f.tenant_id = t.tenant_id
        and coalesce(least(f.expires_at, f.voided_at) >= %(since)s, true)
      order by least(f.expires_at, f.voided_at) desc nulls first, f.grant_id limit %(grants)s
    ) g
  ), '[]'),
  'overrides', coalesce((
    select jsonb_agg(o.terms || jsonb_build_object(
      'id', o.override_id, 'featureId', o.feature_id, 'reason', o.reason,
      'startsAt', o.starts_at, 'endsAt', o.held_until
    ) order by o.feature_id, o.starts_at, o.override_id)
    from (
      select f.*, least(f.ends_at, f.lifted_at) as held_until from overrides f
      where f.tenant_id = t.tenant_id
        and coalesce(least(f.ends_at, f.lifted_at) > greatest(
          f.starts_at, case when f.terms ->> 'included' is null then %(since)s else %(carried_since)s end
        ), true)
      order by held_until desc nulls first, f.override_id limit %(overrides)s
    ) o
  ), '[]')
)::text
from tenants t where t.tenant_id = any(%(tenant_ids)s);

-- name: bumps
select tenant_id, snapshot_version from snapshot_bumps order by tenant_id limit 1000;

-- name: delete_bump
delete from snapshot_bumps where tenant_id = %(tenant_id)s and snapshot_version <= %(snapshot_version)s;
