-- name: get
-- One grant, held until the transaction ends.
select grant_id as id, feature_id, quantity, priority, effective_at, expires_at, created_at, voided_at, reason
from grants
where tenant_id = %(tenant_id)s and grant_id = %(grant_id)s
for update

-- name: named
-- These grants of a tenant.
select grant_id as id, feature_id, quantity, priority, effective_at, expires_at, created_at, voided_at, reason
from grants where tenant_id = %(tenant_id)s and grant_id = any(%(grants)s) order by grant_id

-- name: page
-- A tenant's grants, oldest first, behind an id; of one feature, if one is named.
select grant_id as id, feature_id, quantity, priority, effective_at, expires_at, created_at, voided_at, reason
from grants
where tenant_id = %(tenant_id)s and grant_id > %(after)s
  and (%(feature_id)s::text is null or feature_id = %(feature_id)s)
order by grant_id
limit %(limit)s

-- name: count_open
-- How many of a tenant's grants have not ended; of one feature, or of all.
select count(*) from grants
where tenant_id = %(tenant_id)s and voided_at is null
  and (%(feature_id)s::text is null or feature_id = %(feature_id)s)
  and coalesce(expires_at > %(now)s, true)

-- name: add
-- A new grant.
insert into grants
  (tenant_id, grant_id, feature_id, quantity, priority, effective_at, expires_at, created_at, reason)
values
  (%(tenant_id)s, %(id)s, %(feature_id)s, %(quantity)s, %(priority)s, %(effective_at)s, %(expires_at)s,
   %(created_at)s, %(reason)s)

-- name: void
-- The end of a grant: the one thing about it that is ever written later.
update grants set voided_at = %(voided_at)s
where tenant_id = %(tenant_id)s and grant_id = %(id)s and voided_at is null
