-- Events can be amended and voided: the event shows what holds, its revisions how it came to that.
-- migrate:up
alter table usage_keys add column event_at timestamptz;
update usage_keys k set event_at = e.event_at from usage_events e
where e.tenant_id = k.tenant_id and e.digest = k.digest;
alter table usage_events
  add column revision integer not null default 1,
  add column voided boolean not null default false;
create table usage_revisions (
  tenant_id        text not null,
  event_at         timestamptz not null,
  digest           uuid not null,
  event_digest     uuid not null,
  revision         integer not null,
  kind             text not null,
  feature_id       text not null,
  quantity_before  bigint not null,
  quantity         bigint not null,
  measured         bigint not null,
  time_window      text not null,
  drawn_included   bigint not null,
  drawn_overage    bigint not null,
  drawn_excess     bigint not null,
  drawn_grants     jsonb,
  drawn_rollover   jsonb,
  reason           text not null,
  actor            text not null,
  request          text not null,
  revised_at       timestamptz not null,
  primary key (tenant_id, event_at, digest)
);
create view usage_draws as
select tenant_id, event_at, feature_id, time_window, accepted_at as booked_at,
  drawn_included, drawn_overage, drawn_excess, drawn_grants, drawn_rollover
from usage_events
union all
select tenant_id, event_at, feature_id, time_window, revised_at,
  drawn_included, drawn_overage, drawn_excess, drawn_grants, drawn_rollover
from usage_revisions;

-- migrate:down
drop view usage_draws;
drop table usage_revisions;
alter table usage_events drop column voided, drop column revision;
alter table usage_keys drop column event_at;
