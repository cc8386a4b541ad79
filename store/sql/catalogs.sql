-- name: active_hash
select hash from catalog_activations order by activation desc limit 1;

-- name: catalog
select body::text from catalogs where hash = %(hash)s;

-- name: files
select files::text from catalogs where hash = %(hash)s;

-- name: plan_versions
-- Plan versions by name, with the lines of the active catalog where it has them, else of the newest that does.
select distinct on (v.plan_version) v.body::text
from plan_versions v join catalogs c on c.hash = v.catalog
where v.plan_version = any(%(versions)s)
order by v.plan_version, (v.catalog = %(active)s) desc, c.published_at desc;

-- name: offer
-- The catalog without the bodies of its plans and add-ons (policies.model.Offer).
select offer::text from catalogs where hash = %(hash)s;

-- name: addon_versions
-- Add-on versions by name, with lines chosen as for plan versions.
select distinct on (v.addon_version) v.body::text
from addon_versions v join catalogs c on c.hash = v.catalog
where v.addon_version = any(%(versions)s)
order by v.addon_version, (v.catalog = %(active)s) desc, c.published_at desc;

-- name: insert_catalog
insert into catalogs (hash, files, body, offer, message, author, published_at)
values (%(hash)s, %(files)s, %(body)s, %(offer)s, %(message)s, %(author)s, %(published_at)s)
on conflict (hash) do nothing;

-- name: insert_plan_version
insert into plan_versions (plan_version, catalog, plan_id, body)
values (%(plan_version)s, %(catalog)s, %(plan_id)s, %(body)s)
on conflict do nothing;

-- name: insert_addon_version
insert into addon_versions (addon_version, catalog, addon_id, body)
values (%(addon_version)s, %(catalog)s, %(addon_id)s, %(body)s)
on conflict do nothing;

-- name: lock_activations
-- Two who publish at once: one after the other.
lock table catalog_activations in share row exclusive mode;

-- name: activate
insert into catalog_activations (hash, activated_at, activated_by)
values (%(hash)s, %(activated_at)s, %(activated_by)s);

-- name: history
select c.hash, c.message, c.author, c.published_at,
  (select max(a.activated_at) from catalog_activations a where a.hash = c.hash) as activated_at
from catalogs c order by c.published_at desc, c.hash limit %(limit)s;

-- name: add_feature
-- What a feature's stored numbers mean: kept from its first publish on.
insert into features (feature_id, type, decimals, aggregation)
values (%(feature_id)s, %(type)s, %(decimals)s, %(aggregation)s)
on conflict (feature_id) do nothing;

-- name: features
select feature_id, type, decimals, aggregation from features order by feature_id;
