-- name: size
-- Bytes that the inbox takes, indexes included.
select pg_total_relation_size('usage_inbox');

-- name: insert
-- Keeps what is not known; names what was kept.
insert into usage_inbox (tenant_id, digest, fingerprint, arrived_at, event)
select w.tenant_id, w.digest, w.fingerprint, %(now)s, w.event
from unnest(%(tenants)s::text[], %(digests)s::uuid[], %(fingerprints)s::integer[], %(events)s::jsonb[])
  as w (tenant_id, digest, fingerprint, event)
where not exists (
  select from usage_keys k
  where k.tenant_id = w.tenant_id and k.digest = w.digest and k.ingested_month >= %(horizon)s
)
on conflict do nothing
returning tenant_id, digest::text as digest, fingerprint;

-- name: known
-- The fingerprints of what is in the inbox.
select i.tenant_id, i.digest::text as digest, i.fingerprint
from usage_inbox i join unnest(%(tenants)s::text[], %(digests)s::uuid[]) as w (tenant_id, digest) using (tenant_id, digest);

-- name: take
-- The oldest that no script took yet, or took and nobody saw again in Postgres.
select tenant_id, digest::text as digest, fingerprint, arrived_at, event::text as event from usage_inbox
where sent_at is null or sent_at < %(before)s
order by arrived_at
limit %(limit)s
for update skip locked;

-- name: mark_sent
update usage_inbox i set sent_at = %(now)s
from unnest(%(tenants)s::text[], %(digests)s::uuid[]) as w (tenant_id, digest)
where i.tenant_id = w.tenant_id and i.digest = w.digest;

-- name: forget_kept
-- What the flush has brought over needs the inbox no more.
delete from usage_inbox i using usage_keys k
where i.sent_at is not null and k.tenant_id = i.tenant_id and k.digest = i.digest;

-- name: forget
delete from usage_inbox i using unnest(%(tenants)s::text[], %(digests)s::uuid[]) as w (tenant_id, digest)
where i.tenant_id = w.tenant_id and i.digest = w.digest;
