-- name: take
-- The part of the books that waited longest, of those that are due; now all others come before it.
update books_rounds r set tried_at = %(now)s
from (
  select part from books_rounds
  where after <> '' or finished_at is null or finished_at <= %(before)s
  order by tried_at nulls first, part limit 1 for update skip locked
) next
where r.part = next.part
returning r.part, r.after;

-- name: advance
-- How far a part is, unless somebody else took it further.
update books_rounds set after = %(after)s, looked = looked + %(looked)s,
  began_at = case when after = '' then %(now)s else began_at end,
  finished_at = case when %(after)s = '' then %(now)s else finished_at end
where part = %(part)s and after = %(before)s;

-- name: oldest
-- When the part was whole that has waited longest; null: one of them never was.
select case when count(*) = count(finished_at) then min(finished_at) end from books_rounds;

-- name: tenants
-- Tenants of a shard by name, page by page.
select tenant_id from tenants where shard = %(shard)s and tenant_id > %(after)s order by tenant_id limit %(limit)s;
