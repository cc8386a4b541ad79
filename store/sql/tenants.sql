-- name: get
-- One tenant.
select tenant_id, name, email, metadata, snapshot_version, revision, created_at, updated_at, closed_at
from tenants
where tenant_id = %(tenant_id)s

-- name: lock
-- One tenant, held for a change until the transaction ends: changes of one tenant come one after another.
select tenant_id, name, email, metadata, snapshot_version, revision, created_at, updated_at, closed_at
from tenants
where tenant_id = %(tenant_id)s
for update

-- name: add
-- A new tenant; no row comes back if the id is taken, also by a transaction that committed just now.
insert into tenants (tenant_id, shard, name, email, metadata, snapshot_version, created_at, updated_at)
values (%(tenant_id)s, %(shard)s, %(name)s, %(email)s, %(metadata)s::jsonb, 0, %(at)s, %(at)s)
on conflict (tenant_id) do nothing
returning tenant_id, name, email, metadata, snapshot_version, revision, created_at, updated_at, closed_at

-- name: update
-- What people wrote about a tenant, and whether it is closed.
update tenants
set name = %(name)s, email = %(email)s, metadata = %(metadata)s::jsonb, closed_at = %(closed_at)s,
    revision = revision + 1, updated_at = %(at)s
where tenant_id = %(tenant_id)s
returning tenant_id, name, email, metadata, snapshot_version, revision, created_at, updated_at, closed_at

-- name: raise_version
-- The tenant's next snapshot version, and a note that Redis does not know it yet.
with raised as (
  update tenants set snapshot_version = snapshot_version + 1
  where tenant_id = %(tenant_id)s
  returning tenant_id, snapshot_version
)
insert into snapshot_bumps (tenant_id, snapshot_version)
select tenant_id, snapshot_version from raised
on conflict (tenant_id) do update set snapshot_version = excluded.snapshot_version
returning snapshot_version

-- name: search
-- A page of tenants by id, of those whose id, name or email contains a text; or of one tenant alone.
select tenant_id, name, email, metadata, snapshot_version, revision, created_at, updated_at, closed_at
from tenants
where tenant_id > %(after)s
  and (%(only)s::text is null or tenant_id = %(only)s)
  and (%(query)s = '' or strpos(lower(tenant_id || ' ' || name || ' ' || email), lower(%(query)s)) > 0)
order by tenant_id
limit %(limit)s
