-- migrate:up

-- What was decided and on what it stood: by day, so that a day is dropped at once.
create table decisions (
  tenant_id        text not null,
  as_of            timestamptz not null,
  decision_id      text not null,
  feature_id       text not null,
  outcome          text not null,
  reason           text not null,
  weight           integer not null,
  body             json not null,
  primary key (tenant_id, as_of, decision_id)
) partition by range (as_of);
create index decisions_by_time on decisions (as_of, decision_id);
create index decisions_by_id on decisions (decision_id);

-- migrate:down
drop table decisions;
