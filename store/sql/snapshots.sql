-- name: snapshot
-- All that a decision needs to know of a tenant, as one JSON document (policies.entitlement.Snapshot).
select jsonb_build_object(
  'tenantId', t.tenant_id, 'version', t.snapshot_version, 'known', true,
  'closed', t.closed_at is not null,
  'subscriptions', coalesce((
    select jsonb_agg(jsonb_build_object(
      'id', s.subscription_id, 'anchoredAt', s.anchored_at, 'createdAt', s.created_at,
      'billingStatus', s.billing_status, 'trialEndsAt', s.trial_ends_at,
      'phases', (
        select coalesce(jsonb_agg(jsonb_build_object(
          'planId', p.plan_id, 'planVersion', p.plan_version, 'start', p.start_at, 'end', p.end_at
        ) order by p.start_at), '[]')
        from (
          select * from subscription_phases f
          where f.tenant_id = s.tenant_id and f.subscription_id = s.subscription_id
          order by f.start_at desc limit %(phases)s
        ) p
      )
    ) order by s.created_at, s.subscription_id)
    from (
      select * from subscriptions l where l.tenant_id = t.tenant_id order by l.created_at desc limit %(phases)s
    ) s
  ), '[]')
)::text
from tenants t where t.tenant_id = %(tenant_id)s;

-- name: bumps
select tenant_id, snapshot_version from snapshot_bumps order by tenant_id limit 1000;

-- name: delete_bump
delete from snapshot_bumps where tenant_id = %(tenant_id)s and snapshot_version <= %(snapshot_version)s;
