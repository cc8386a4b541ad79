-- name: count
-- How many tenants have, or will have, one of these plans or add-ons in another version than these.
select count(distinct p.tenant_id)
from subscription_phases p join tenants t using (tenant_id)
where (p.end_at is null or p.end_at > %(at)s) and t.closed_at is null and (
  exists (select from unnest(%(plans)s::text[], %(plan_versions)s::text[]) as w (id, version)
    where w.id = p.plan_id and w.version <> p.plan_version)
  or (p.addons <> '[]' and exists (
    select from jsonb_to_recordset(p.addons) as a ("addonId" text, "addonVersion" text)
      join unnest(%(addons)s::text[], %(addon_versions)s::text[]) as w (id, version) on w.id = a."addonId"
    where w.version <> a."addonVersion")));

-- name: candidates
-- The same tenants, a batch in the order of their ids.
select p.tenant_id
from subscription_phases p join tenants t using (tenant_id)
where p.tenant_id > %(after)s and (p.end_at is null or p.end_at > %(at)s) and t.closed_at is null and (
  exists (select from unnest(%(plans)s::text[], %(plan_versions)s::text[]) as w (id, version)
    where w.id = p.plan_id and w.version <> p.plan_version)
  or (p.addons <> '[]' and exists (
    select from jsonb_to_recordset(p.addons) as a ("addonId" text, "addonVersion" text)
      join unnest(%(addons)s::text[], %(addon_versions)s::text[]) as w (id, version) on w.id = a."addonId"
    where w.version <> a."addonVersion")))
group by p.tenant_id order by p.tenant_id limit %(limit)s;

-- name: lock
-- These tenants, held for a change until the transaction ends, in one order so that two never wait in a ring.
select tenant_id from tenants where tenant_id = any(%(tenants)s) and closed_at is null
order by tenant_id for update;

-- name: raise_versions
-- The next snapshot version of each, and a note that Redis does not know it yet.
with raised as (
  update tenants set snapshot_version = snapshot_version + 1
  where tenant_id = any(%(tenants)s)
  returning tenant_id, snapshot_version
)
insert into snapshot_bumps (tenant_id, snapshot_version)
select tenant_id, snapshot_version from raised
on conflict (tenant_id) do update set snapshot_version = excluded.snapshot_version
returning tenant_id, snapshot_version;
