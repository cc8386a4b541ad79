-- What an event took from grants, each a bucket of its own.
-- migrate:up
alter table usage_events add column drawn_grants jsonb;

-- migrate:down
alter table usage_events drop column drawn_grants;
