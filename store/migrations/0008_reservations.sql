-- Units that are held for a use to come, until it is settled, given up, or overdue.
-- migrate:up
create table reservations (
  tenant_id        text not null,
  digest           uuid not null,
  shard            smallint not null,
  state            text not null default 'open',
  ended_at         timestamptz,
  settled          bigint,
  reserve          bytea not null,
  primary key (tenant_id, digest)
);
create index reservations_by_digest on reservations (digest);
create index reservations_open on reservations (shard) where state = 'open';
create index reservations_by_end on reservations (ended_at);

-- migrate:down
drop table reservations;
