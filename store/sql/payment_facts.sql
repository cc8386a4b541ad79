-- name: add
-- What became known, in the order in which it did.
insert into payment_facts (tenant_id, kind, subject, state, seen_at, noted_at, body)
values (%(tenant_id)s, %(kind)s, %(subject)s, %(state)s, %(seen_at)s, %(noted_at)s, %(body)s::jsonb);

-- name: of_tenant
-- What was seen last.
select body::text from payment_facts where tenant_id = %(tenant_id)s order by seen_at desc, fact_no desc limit %(limit)s;

-- name: of_tenants
-- The same of many tenants.
select t.tenant_id, f.body::text as body
from unnest(%(tenants)s::text[]) as t (tenant_id)
cross join lateral (
  select body, seen_at, fact_no from payment_facts q where q.tenant_id = t.tenant_id
  order by seen_at desc, fact_no desc limit %(limit)s
) f
order by t.tenant_id, f.seen_at desc, f.fact_no desc;

-- name: page
-- What became known last, before the fact of this number.
select fact_no, noted_at, body::text from payment_facts
where tenant_id = %(tenant_id)s and fact_no < %(before)s order by fact_no desc limit %(limit)s;
