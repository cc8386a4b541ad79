-- name: insert
-- Of one subject a kind is told once.
insert into incidents (kind, shard, subject, entries, detail, found_at)
values (%(kind)s, %(shard)s, %(subject)s, %(entries)s, %(detail)s, %(found_at)s)
on conflict (kind, shard, subject) do nothing;

-- name: put_tips
-- How far processes have acknowledged.
insert into journal_tips as t (shard, epoch, number)
select shard, number / %(epoch)s, max(number)
from unnest(%(shards)s::smallint[], %(numbers)s::bigint[]) as n (shard, number)
group by 1, 2
order by 1, 2
on conflict (shard, epoch) do update set number = greatest(t.number, excluded.number);

-- name: put_epochs
-- Where shards' numbers ended, and where they go on.
insert into journal_epochs (shard, ended, began, certified_at)
select shard, ended, began, %(now)s
from unnest(%(shards)s::smallint[], %(ended)s::bigint[], %(began)s::bigint[]) as n (shard, ended, began)
on conflict do nothing;

-- name: set_numbers
update flush_cursors c set number = n.began
from unnest(%(shards)s::smallint[], %(began)s::bigint[]) as n (shard, began)
where c.shard = n.shard;

-- name: lost
-- Entries that were acknowledged, and whose numbers lie where no entry is.
select t.shard, t.epoch, t.number, e.ended, e.certified_at
from journal_tips t join journal_epochs e on e.shard = t.shard and t.number > e.ended and t.number < e.began
order by t.shard, t.epoch;

-- name: forget_tips
-- Of epochs that are over: what was lost of them is told.
delete from journal_tips t using journal_epochs e where e.shard = t.shard and t.number < e.began;

-- name: raise_lost
-- Another process had acknowledged more of what is lost.
update incidents set entries = %(entries)s, detail = %(detail)s
where kind = %(kind)s and shard = %(shard)s and subject = %(subject)s and entries < %(entries)s;

-- name: open
select count(*) from incidents where closed_at is null;

-- name: open_by_kind
-- How many of each kind nobody has closed, and how many entries they are about.
select kind, count(*) as incidents, coalesce(sum(entries), 0)::bigint as entries
from incidents where closed_at is null group by kind order by kind;

-- name: list
select incident_id, kind, shard, subject, entries, detail, found_at, closed_at, closed_by, reason from incidents
where (%(all)s or closed_at is null) and incident_id < %(before)s
order by incident_id desc limit %(limit)s;

-- name: one
select incident_id, kind, shard, subject, entries, detail, found_at, closed_at, closed_by, reason from incidents
where incident_id = %(incident_id)s for update;

-- name: close
update incidents set closed_at = %(now)s, closed_by = %(by)s, reason = %(reason)s where incident_id = %(incident_id)s;

-- name: close_subject
-- What an incident was about has been dealt with.
update incidents set closed_at = %(now)s, closed_by = %(by)s, reason = %(reason)s
where kind = %(kind)s and shard = %(shard)s and subject = %(subject)s and closed_at is null;
