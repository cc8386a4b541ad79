-- What an event took from what earlier periods carried into its own.
-- migrate:up
alter table usage_events add column drawn_rollover jsonb;

-- migrate:down
alter table usage_events drop column drawn_rollover;
