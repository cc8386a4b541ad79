-- name: of_tenants
-- What is known of these tenants, but for what is over.
select drift_id, class as kind, tenant_id, feature_id, subject, expected, actual, money, evidence, action, why_safe, state,
  looks, first_seen_at, last_seen_at, gone_at
from drift where tenant_id = any(%(tenants)s) and state <> 'gone' order by tenant_id, drift_id for update;

-- name: put
-- What a look has found: something new, or what is known as it stands now.
insert into drift (
  tenant_id, drift_id, class, feature_id, subject, expected, actual, money, evidence, action, why_safe, state, looks,
  first_seen_at, last_seen_at
)
values (
  %(tenant_id)s, %(drift_id)s, %(kind)s, %(feature_id)s, %(subject)s, %(expected)s::jsonb, %(actual)s::jsonb,
  %(money)s::jsonb, %(evidence)s::jsonb, %(action)s, %(why_safe)s, %(state)s, %(looks)s, %(first_seen_at)s, %(last_seen_at)s
)
on conflict (tenant_id, drift_id) do update set expected = excluded.expected, actual = excluded.actual,
  money = excluded.money, evidence = excluded.evidence, action = excluded.action, why_safe = excluded.why_safe,
  state = excluded.state, looks = excluded.looks, first_seen_at = excluded.first_seen_at,
  last_seen_at = excluded.last_seen_at, gone_at = null;

-- name: drop
-- What a second look did not find was no drift.
delete from drift where tenant_id = %(tenant_id)s and drift_id = %(drift_id)s;

-- name: end
-- What is not there any more.
update drift set state = 'gone', gone_at = %(now)s where tenant_id = %(tenant_id)s and drift_id = %(drift_id)s;

-- name: due
-- Tenants of whom something was found that has to be looked at again.
select distinct tenant_id from drift where state = 'suspected' and last_seen_at <= %(before)s
order by tenant_id limit %(limit)s;

-- name: list
-- The oldest first.
select drift_id, class as kind, tenant_id, feature_id, subject, expected, actual, money, evidence, action, why_safe, state,
  looks, first_seen_at, last_seen_at, gone_at
from drift
where state = any(%(states)s) and (%(tenant_id)s::text is null or tenant_id = %(tenant_id)s)
  and (%(kind)s::text is null or class = %(kind)s)
order by first_seen_at, tenant_id, drift_id limit %(limit)s;

-- name: find
select drift_id, class as kind, tenant_id, feature_id, subject, expected, actual, money, evidence, action, why_safe, state,
  looks, first_seen_at, last_seen_at, gone_at
from drift where drift_id = %(drift_id)s;

-- name: open
-- How many of each class are open, and since when.
select class as kind, count(*) as number, min(first_seen_at) as since from drift where state = 'open' group by 1 order by 1;
