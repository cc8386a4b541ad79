-- name: add
-- A new key, by the digest of its secret.
insert into api_keys (key_id, hash, name, scopes, tenant_id, created_at, expires_at)
values (%(key_id)s, %(hash)s, %(name)s, %(scopes)s, %(tenant_id)s, %(created_at)s, %(expires_at)s)

-- name: by_hash
-- The key whose secret has this digest.
select key_id, name, scopes, tenant_id, created_at, expires_at, revoked_at
from api_keys
where hash = %(hash)s

-- name: lock
-- One key, held for a change until the transaction ends.
select key_id, name, scopes, tenant_id, created_at, expires_at, revoked_at
from api_keys
where key_id = %(key_id)s
for update

-- name: page
-- A page of keys by id; of one tenant's, or of all.
select key_id, name, scopes, tenant_id, created_at, expires_at, revoked_at
from api_keys
where key_id > %(after)s and (%(tenant_id)s::text is null or tenant_id = %(tenant_id)s)
order by key_id
limit %(limit)s

-- name: update
-- When a locked key stops to open doors.
update api_keys
set expires_at = %(expires_at)s, revoked_at = %(revoked_at)s
where key_id = %(key_id)s
