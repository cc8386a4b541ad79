-- name: holding
-- What was overridden at an instant, as that was known then or later; of one feature, if one is named.
select override_id as id, feature_id, terms, reason, starts_at, least(ends_at, lifted_at) as ends_at
from overrides
where tenant_id = %(tenant_id)s
  and (%(feature_id)s::text is null or feature_id = %(feature_id)s)
  and starts_at <= %(at)s and coalesce(least(ends_at, lifted_at) > %(at)s, true)
order by feature_id
limit %(limit)s

-- name: count_holding
-- How many features of a tenant are overridden at an instant.
select count(*) from overrides
where tenant_id = %(tenant_id)s and lifted_at is null
  and coalesce(ends_at > %(at)s, true)

-- name: lift
-- The end of what is in force for a feature: the one thing about it that is ever written later.
update overrides set lifted_at = %(at)s
where tenant_id = %(tenant_id)s and feature_id = %(feature_id)s and lifted_at is null

-- name: add
-- What is overridden from now on.
insert into overrides (tenant_id, override_id, feature_id, terms, reason, starts_at, ends_at)
values (%(tenant_id)s, %(id)s, %(feature_id)s, %(terms)s::jsonb, %(reason)s, %(starts_at)s, %(ends_at)s)
