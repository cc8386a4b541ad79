-- Takes back what a counter was given for an event that the flush found to be a duplicate.
--
-- KEYS[1] fence, KEYS[2] set of the corrections that were applied, KEYS[3..] counters
-- ARGV[1] run_id of the server as the caller knows it, ARGV[2] life of the set in seconds
-- then per correction: id, place of the counters' key, field, amount to add (scaled, signed)
-- Reply: number of corrections that were new. Error `FENCED`: nothing was done; a rebuild makes them needless.
-- Cost: about 2 us a correction. Applying one twice changes nothing: its id is remembered in the same step.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return redis.error_reply('FENCED') end
local new = 0
for at = 3, #ARGV, 4 do
  local id, key, field, amount = ARGV[at], KEYS[tonumber(ARGV[at + 1])], ARGV[at + 2], ARGV[at + 3]
  if redis.call('SADD', KEYS[2], id) == 1 then
    redis.call('HINCRBY', key, field, amount)
    new = new + 1
  end
end
redis.call('EXPIRE', KEYS[2], ARGV[2])
return new
