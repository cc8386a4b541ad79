-- name: active_hash
select hash from catalog_activations order by activation desc limit 1;

-- name: catalog
select body::text from catalogs where hash = %(hash)s;

-- name: files
select files::text from catalogs where hash = %(hash)s;

-- name: plan_versions
-- Plan versions by name, with the lines of the active catalog where it has them, else of the newest that does.
select distinct on (v.plan_version) b.body::text
from plan_versions v join version_bodies b using (digest) join catalogs c on c.hash = v.catalog
where v.plan_version = any(%(versions)s)
order by v.plan_version, (v.catalog = %(active)s) desc, c.published_at desc;

-- name: plans_of
-- All plan versions of a catalog.
select b.body::text from plan_versions v join version_bodies b using (digest) where v.catalog = %(hash)s
order by v.plan_id;

-- name: addons_of
-- All add-on versions of a catalog.
select b.body::text from addon_versions v join version_bodies b using (digest) where v.catalog = %(hash)s
order by v.addon_id;

-- name: offer
-- The catalog without the bodies of its plans and add-ons (policies.model.Offer).
select offer::text from catalogs where hash = %(hash)s;

-- name: addon_versions
-- Add-on versions by name, with lines chosen as for plan versions.
select distinct on (v.addon_version) b.body::text
from addon_versions v join version_bodies b using (digest) join catalogs c on c.hash = v.catalog
where v.addon_version = any(%(versions)s)
order by v.addon_version, (v.catalog = %(active)s) desc, c.published_at desc;

-- name: insert_catalog
insert into catalogs (hash, files, body, offer, compiler, message, author, published_at)
values (%(hash)s, %(files)s, %(body)s, %(offer)s, %(compiler)s, %(message)s, %(author)s, %(published_at)s)
on conflict (hash) do nothing;

-- name: compiler
-- The release that compiled a catalog; none of one that was published in spite of promises that it breaks.
select compiler from catalogs c where hash = %(hash)s
  and not exists (select from catalog_activations a where a.hash = c.hash and a.acknowledged <> '[]');

-- name: kept_bodies
-- Which of these bodies are kept already.
select digest from version_bodies where digest = any(%(digests)s);

-- name: insert_bodies
insert into version_bodies (digest, body)
select * from unnest(%(digests)s::bytea[], %(bodies)s::jsonb[])
on conflict do nothing;

-- name: insert_plan_versions
-- The plan versions of a catalog, their bodies kept already.
insert into plan_versions (plan_version, catalog, plan_id, digest)
select v.plan_version, %(catalog)s, v.plan_id, v.digest
from unnest(%(versions)s::text[], %(ids)s::text[], %(digests)s::bytea[]) as v (plan_version, plan_id, digest)
on conflict do nothing;

-- name: insert_addon_versions
-- The add-on versions of a catalog, their bodies kept already.
insert into addon_versions (addon_version, catalog, addon_id, digest)
select v.addon_version, %(catalog)s, v.addon_id, v.digest
from unnest(%(versions)s::text[], %(ids)s::text[], %(digests)s::bytea[]) as v (addon_version, addon_id, digest)
on conflict do nothing;

-- name: lock_activations
-- Two who publish at once: one after the other.
lock table catalog_activations in share row exclusive mode;

-- name: activate
insert into catalog_activations (hash, activated_at, activated_by, message, acknowledged, moves)
values (%(hash)s, %(activated_at)s, %(activated_by)s, %(message)s, %(acknowledged)s, %(moves)s);

-- name: latest_activation
-- Who made active what is active, when and why.
select activation, hash, activated_at, activated_by as author, message, acknowledged, moves
from catalog_activations order by activation desc limit 1;

-- name: history
-- Activations, newest first: a catalog that became active again stands there again.
select a.activation, a.hash, a.message, a.activated_by as author, c.published_at, a.activated_at,
  a.acknowledged, a.moves
from catalog_activations a join catalogs c using (hash)
where a.activation < %(before)s
order by a.activation desc limit %(limit)s;

-- name: named
-- Published catalogs whose hash begins so, newest first; two are enough to see that it is not one.
select hash from catalogs where starts_with(hash, %(prefix)s) order by published_at desc limit 2;

-- name: add_features
-- What features' stored numbers mean: kept from their first publish on.
insert into features (feature_id, type, decimals, aggregation, value_type, property)
select * from unnest(
  %(ids)s::text[], %(types)s::text[], %(decimals)s::smallint[], %(aggregations)s::text[], %(value_types)s::text[],
  %(properties)s::text[]
)
on conflict (feature_id) do nothing;

-- name: features
select feature_id, type, decimals, aggregation, value_type, property from features order by feature_id;
