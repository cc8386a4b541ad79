-- Journal entries are numbered, so that one that is lost is missed; and what became of those that were put aside.
-- migrate:up
alter table flush_cursors add column number bigint not null default 0;

create table journal_tips (
  shard            smallint not null,
  epoch            bigint not null,
  number           bigint not null,
  primary key (shard, epoch)
);

create table journal_epochs (
  shard            smallint not null,
  began            bigint not null,
  ended            bigint not null,
  certified_at     timestamptz not null,
  primary key (shard, began)
);

create table incidents (
  incident_id      bigint generated always as identity primary key,
  kind             text not null,
  shard            smallint not null,
  subject          text not null,
  entries          bigint,
  detail           text not null,
  found_at         timestamptz not null,
  closed_at        timestamptz,
  closed_by        text,
  reason           text,
  unique (kind, shard, subject)
);
create index incidents_open on incidents (found_at) where closed_at is null;

alter table journal_quarantine add column ended_at timestamptz;
alter table journal_quarantine add column ended_as text;

-- migrate:down
alter table journal_quarantine drop column ended_at, drop column ended_as;
drop table incidents, journal_epochs, journal_tips;
alter table flush_cursors drop column number;
