-- name: hold
-- Makes requests with the same key wait for each other until their transactions end.
-- The form with two integers, whose locks never meet those with one.
select pg_advisory_xact_lock(%(family)s, hashtext(%(scope)s || ' ' || %(idempotency_key)s))

-- name: recall
-- The answer that was given under this key, if it is young enough to be given again.
select fingerprint, status, body, etag
from idempotency_keys
where scope = %(scope)s and idempotency_key = %(idempotency_key)s and created_at > %(since)s

-- name: keep
-- The answer, in the transaction that it speaks of; one that is too old to be given again makes room.
insert into idempotency_keys (scope, idempotency_key, fingerprint, status, body, etag, created_at)
values (%(scope)s, %(idempotency_key)s, %(fingerprint)s, %(status)s, %(body)s, %(etag)s, %(created_at)s)
on conflict (scope, idempotency_key) do update
set fingerprint = excluded.fingerprint, status = excluded.status, body = excluded.body,
    etag = excluded.etag, created_at = excluded.created_at
