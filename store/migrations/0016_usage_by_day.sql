-- A year of a tenant is reported from sums by the day.
-- migrate:up
create table usage_daily (
  tenant_id        text not null,
  feature_id       text not null,
  day              date not null,
  service_id       text not null,
  entity_id        text not null,
  plan_id          text not null,
  quantity         numeric(38) not null,
  events           bigint not null,
  primary key (tenant_id, feature_id, day, service_id, entity_id, plan_id)
);
insert into usage_daily (tenant_id, feature_id, day, service_id, entity_id, plan_id, quantity, events)
select tenant_id, feature_id, (hour_at at time zone 'UTC')::date, service_id, entity_id, plan_id, sum(quantity), sum(events)
from usage_hourly
group by 1, 2, 3, 4, 5, 6;

-- migrate:down
drop table usage_daily;
