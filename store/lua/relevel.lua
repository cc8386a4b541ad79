-- Amends or voids an event of a meter with a level: the level becomes what the events make it that are left. One call is
-- one revision.
--
-- KEYS[1] fence, KEYS[2] journal, KEYS[3] snapshot versions, KEYS[4..] counters and marks, named by their place.
-- ARGV[1] run_id of the server as the caller knows it, ARGV[2] life of marks in seconds
-- then the account (parts/buckets.lua), the mark of the revision (parts/journal.lua), payload (one msgpack value);
--   of a `unique` meter the value that one event less has (parts/meters.lua);
--   of a `max` meter the level that is to be (scaled), and from how many acts that was found
-- Reply: 0 kept, 1 the same revision came before, 2 another one has its number,
--   3 stale (the caller's snapshot is older than the tenant's), 5 acts came that the level was not found from.
--   Error `FENCED`: the shard is not certified on this server; nothing was done.
-- Cost: about 10 us.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return redis.error_reply('FENCED') end
--@include counters
--@include rollover
--@include buckets
--@include meters
--@include journal
at = 2
local account, mark, payload = take_account(), take_mark(), take()
local value = take_value(account)
local to, acts
if not value then to, acts = take_number(), take_number() end

if mark.before then return repeated(mark) end
if account.version < tonumber(redis.call('HGET', KEYS[3], account.tenant) or '0') then return 3 end
if acts and level(account.key, account.prefix .. 'n') ~= acts then return 5 end

local falls = value and (met(account, value) == 1 and 1 or 0) or height(account) - to
local changed = falls < 0 and drawn_of(account, to) or give_back(account, {}, falls)
count(account, changed, value, -1)
note(mark, '\146' .. payload .. packed(account, changed)) -- a pair
write_all(KEYS[2], KEYS[3], ARGV[2])
return 0
