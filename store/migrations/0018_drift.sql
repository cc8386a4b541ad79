-- Differences between records of the same thing, and how far they have been looked for.
-- migrate:up
create table drift (
  tenant_id        text not null,
  drift_id         text not null,
  class            text not null,
  feature_id       text not null,
  subject          text not null,
  expected         jsonb not null,
  actual           jsonb not null,
  money            jsonb,
  evidence         jsonb not null,
  action           text not null,
  why_safe         text not null,
  state            text not null,
  looks            integer not null,
  first_seen_at    timestamptz not null,
  last_seen_at     timestamptz not null,
  gone_at          timestamptz,
  primary key (tenant_id, drift_id)
);
create index drift_by_state on drift (state, first_seen_at);
create table books_rounds (
  part             text primary key,
  after            text not null default '',
  began_at         timestamptz,
  finished_at      timestamptz,
  tried_at         timestamptz,
  looked           bigint not null default 0
);
insert into books_rounds (part) select 's' || to_char(shard, 'FM000') from generate_series(0, 255) shard;
insert into books_rounds (part) values ('keys');

-- migrate:down
drop table books_rounds;
drop table drift;
