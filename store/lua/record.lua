-- Records usage that has already happened: it always counts, drawing grants and included units in the order of
-- their priority, then overage, then excess. One call is one batch of one shard, and one entry of its journal.
--
-- KEYS[1] fence, KEYS[2] journal, KEYS[3] snapshot versions,
-- KEYS[4..] counters and marks, named by their place.
-- ARGV[1] run_id of the server as the caller knows it, ARGV[2] life of marks in seconds
-- then the number of accounts, and each (parts/buckets.lua); then the number of events, and each:
--   account (from 1), measured quantity (scaled), its mark (parts/journal.lua), payload (one msgpack value),
--   its value if the meter is `unique` (parts/meters.lua),
--   number of caps, then per cap: place of the counters' key, field, end of life
-- Reply: one integer per event: 0 accepted, 1 duplicate, 2 the id came with another body,
--   3 stale (the caller's snapshot is older than the tenant's), 4 a counter would pass its bound,
--   5 the period has as many values as are kept of it; and behind them the number of the journal's last entry.
--   Error `FENCED`: the shard is not certified on this server; nothing was done.
-- Cost: about 3 us an event, as much again if it draws from grants, and 0.1 us for each full one that it passes.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return redis.error_reply('FENCED') end
local first, asks = 3, false
--@include straight
--@include counters
--@include rollover
--@include buckets
--@include meters
--@include caps
--@include journal
at = 2
local accounts = take_accounts()
for _, account in ipairs(accounts) do
  account.stale = account.version < tonumber(redis.call('HGET', KEYS[3], account.tenant) or '0')
end

local NOTHING = {o = 0, x = 0}
local replies = {}
for e = 1, take_number() do
  local account, quantity = accounts[take_number()], take_number()
  local mark, payload, value = take_mark(), take(), take_value(account)
  local caps = take_caps()
  if mark.before then replies[e] = repeated(mark)
  elseif account.stale then replies[e] = 3
  elseif highest(account, caps) + quantity > COUNTER_MAX then replies[e] = 4
  elseif is_crowded(account, value) then replies[e] = 5
  else
    local drawn = account.key and drawn_of(account, quantity, value) or NOTHING
    if account.key then count(account, drawn, value, 1) end
    grow_caps(caps, quantity)
    note(mark, '\146' .. payload .. packed(account, drawn)) -- a pair
    replies[e] = 0
  end
end
replies[#replies + 1] = write_all(KEYS[2], KEYS[3], ARGV[2])
return replies
