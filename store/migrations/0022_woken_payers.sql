-- A customer's new way to pay is noted, so that an attempt with the old one that is under way learns of it.
-- migrate:up
alter table payers add column woken_at timestamptz; -- when the customer last had a new way to pay

-- migrate:down
alter table payers drop column woken_at;
