-- Counts a use if all of it fits: under the ceiling of what may be drawn, and under that of every cap. The ceilings
-- were read off Cedar's answers for what was granted then; a part of a use is never counted.
--
-- KEYS[1] fence, KEYS[2] journal, KEYS[3] snapshot versions, KEYS[4] the tenants' earliest expiries, KEYS[5] the clock,
-- KEYS[6..] counters and marks, named by their place.
-- ARGV[1] run_id of the server as the caller knows it, ARGV[2] life of marks in seconds, ARGV[3] now (microseconds)
-- then the number of accounts, and each (parts/buckets.lua); then the number of uses, and each:
--   account (from 1), measured quantity (scaled), its mark (parts/journal.lua), payload (one msgpack value),
--   its value if the meter is `unique` (parts/meters.lua),
--   granted units that the ceilings are for (scaled; -1: they do not depend on it),
--   ceiling of the units drawn from granted ones and overage together, this use included (scaled; -1: none),
--   number of caps, then per cap: place of the counters' key, field, end of life; then the ceiling of each, as above
-- Reply: per use an array of a code and the levels before it: overage, excess, reserved units of the period, the finite
--   buckets in their order, the caps, what parts/ceilings.lua says more. Codes: 0 counted, 1 the same use came before,
--   2 the id came with another body, 3 stale (the caller's snapshot is older than the tenant's), 4 a counter would pass
--   its bound, 5 it does not fit, 6 something else is granted than the ceilings are for, 7 the period has as many values
--   as are kept of it, 8 it does not fit as long as reservations of the tenant that have expired are not ended. Only with
--   0 is anything changed. Behind them the number of the journal's last entry.
--   Error `FENCED`: the shard is not certified on this server; nothing was done.
-- Cost: about 8 us a use, and 0.3 us for each bucket.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return redis.error_reply('FENCED') end
local first, asks = 4, true
--@include straight
--@include counters
--@include rollover
--@include buckets
--@include meters
--@include caps
--@include journal
--@include ceilings
--@include holds
at = 3
local clock = clock_of(KEYS[5], ARGV[3])
local accounts = take_accounts()
for _, account in ipairs(accounts) do
  account.stale = account.version < tonumber(redis.call('HGET', KEYS[3], account.tenant) or '0')
end

local replies = {}
for e = 1, take_number() do
  local account, quantity = accounts[take_number()], take_number()
  local mark, payload, value = take_mark(), take(), take_value(account)
  local ceilings = take_ceilings()
  local stand = standing(account, ceilings.caps, value)
  if mark.before then stand[1] = repeated(mark)
  elseif account.stale then stand[1] = 3
  else
    stand[1] = refusal(account, asked(account, quantity, value), ceilings)
    if stand[1] == 5 and has_due(KEYS[4], account.tenant, clock) then stand[1] = 8 end
    if stand[1] == 0 and is_crowded(account, value) then stand[1] = 7 end
    if stand[1] == 0 then
      local before = packed_levels(stand)
      local drawn = drawn_of(account, quantity, value)
      count(account, drawn, value, 1)
      grow_caps(ceilings.caps, quantity)
      note(mark, '\147' .. payload .. packed(account, drawn) .. before) -- three values
    end
  end
  replies[e] = stand
end
replies[#replies + 1] = write_all(KEYS[2], KEYS[3], ARGV[2])
return replies
