-- name: insert
insert into journal_quarantine (shard, entry_id, fields, reason, found_at)
values (%(shard)s, %(entry_id)s, %(fields)s, %(reason)s, %(found_at)s)
on conflict do nothing;

-- name: list
-- The newest first.
select shard, entry_id, reason, found_at, fields::text as fields, ended_at, ended_as from journal_quarantine
where %(all)s or ended_at is null
order by found_at desc, shard, entry_id limit %(limit)s;

-- name: one
select shard, entry_id, reason, found_at, fields::text as fields, ended_at, ended_as from journal_quarantine
where shard = %(shard)s and entry_id = %(entry_id)s for update;

-- name: end
update journal_quarantine set ended_at = %(now)s, ended_as = %(ending)s
where shard = %(shard)s and entry_id = %(entry_id)s;

-- name: waiting
select count(*) from journal_quarantine where ended_at is null;
