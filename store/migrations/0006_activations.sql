-- Bodies of plan and add-on versions are kept once, however many catalogs have them; an activation says why.
-- migrate:up
create table version_bodies (
  digest           bytea primary key,
  body             jsonb not null
);
insert into version_bodies (digest, body)
select distinct on (1) sha256(convert_to(body::text, 'UTF8')), body
from (select body from plan_versions union all select body from addon_versions) b;

alter table plan_versions add column digest bytea references version_bodies;
update plan_versions set digest = sha256(convert_to(body::text, 'UTF8'));
alter table plan_versions alter column digest set not null, drop column body;
alter table addon_versions add column digest bytea references version_bodies;
update addon_versions set digest = sha256(convert_to(body::text, 'UTF8'));
alter table addon_versions alter column digest set not null, drop column body;
create index plan_versions_by_catalog on plan_versions (catalog);
create index addon_versions_by_catalog on addon_versions (catalog);

update catalogs set body = body || '{"plans": {}, "addons": {}}';
alter table catalogs add column compiler text not null default '';

alter table catalog_activations
  add column message text not null default '',
  add column acknowledged jsonb not null default '[]',
  add column moves jsonb not null default '{}';
update catalog_activations a set message = c.message from catalogs c where c.hash = a.hash;

-- migrate:down
alter table catalog_activations drop column message, drop column acknowledged, drop column moves;
alter table catalogs drop column compiler;
drop index plan_versions_by_catalog;
drop index addon_versions_by_catalog;
alter table plan_versions add column body jsonb;
update plan_versions v set body = b.body from version_bodies b where b.digest = v.digest;
alter table plan_versions alter column body set not null, drop column digest;
alter table addon_versions add column body jsonb;
update addon_versions v set body = b.body from version_bodies b where b.digest = v.digest;
alter table addon_versions alter column body set not null, drop column digest;
update catalogs c set body = c.body || jsonb_build_object(
  'plans', (select coalesce(jsonb_object_agg(v.plan_id, v.body), '{}') from plan_versions v where v.catalog = c.hash),
  'addons', (select coalesce(jsonb_object_agg(v.addon_id, v.body), '{}') from addon_versions v where v.catalog = c.hash)
);
drop table version_bodies;
