-- Amends or voids an event: units come back to the buckets of its period, or more of them are drawn. One call is one
-- revision. Nothing refuses it but a counter's bound: what it says has happened.
--
-- KEYS[1] fence, KEYS[2] journal, KEYS[3] snapshot versions, KEYS[4..] counters and marks, named by their place.
-- ARGV[1] run_id of the server as the caller knows it, ARGV[2] life of marks in seconds
-- then the account (parts/buckets.lua), the mark of the revision (parts/journal.lua), payload (one msgpack value),
--   how many units come back (scaled), what the event has drawn of each finite bucket, in their order (signed),
--   how many units are drawn more (scaled), by how much the caps change (signed), the caps (parts/caps.lua)
-- Reply: 0 kept, 1 the same revision came before, 2 another one has its number,
--   3 stale (the caller's snapshot is older than the tenant's), 4 a counter would pass its bound.
--   Error `FENCED`: the shard is not certified on this server; nothing was done.
-- Cost: about 15 us, and 0.5 us for each bucket.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return redis.error_reply('FENCED') end
--@include counters
--@include rollover
--@include buckets
--@include caps
--@include journal
at = 2
local account, mark, payload = take_account(), take_mark(), take()
local back, own = take_number(), {}
for b = 1, #account do own[b] = take_number() end
local more, change, caps = take_number(), take_number(), take_caps()

if mark.before then return repeated(mark) end
if account.version < tonumber(redis.call('HGET', KEYS[3], account.tenant) or '0') then return 3 end
if highest(account, caps) + math.max(more, change) > COUNTER_MAX then return 4 end

local changed = {o = 0, x = 0}
for b = 1, #account do changed[b] = 0 end
local function take_part(drawn)
  book(account, drawn)
  changed.o, changed.x = changed.o + drawn.o, changed.x + drawn.x
  for b = 1, #account do changed[b] = changed[b] + drawn[b] end
end
if account.key and back > 0 then take_part(give_back(account, own, back)) end
if account.key and more > 0 then take_part(draw(account, more)) end
grow_caps(caps, change)
note(mark, '\146' .. payload .. packed(account, changed)) -- a pair
write_all(KEYS[2], KEYS[3], ARGV[2])
return 0
