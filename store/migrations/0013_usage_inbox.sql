-- Usage that was accepted while Redis was away: a queue in front of the scripts, and the only place that has it.
-- migrate:up
create table usage_inbox (
  tenant_id        text not null,
  digest           uuid not null,
  fingerprint      integer not null,
  arrived_at       timestamptz not null,
  event            jsonb not null,
  sent_at          timestamptz,
  primary key (tenant_id, digest)
);
create index usage_inbox_by_arrival on usage_inbox (arrived_at);

-- migrate:down
drop table usage_inbox;
