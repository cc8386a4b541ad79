-- Does what certifies a shard, as long as nobody else has begun to certify it, or opened it: whoever hung meanwhile changes
-- nothing any more.
--
-- KEYS[1] fence, KEYS[2..] keys of the commands, named by their place.
-- ARGV[1] what the fence was set to by whoever certifies; then per command: its name, place of its key, number of its other
--   words, and these
-- Reply: OK. Error `OVERTAKEN`: the fence is another's; nothing was done.
-- Cost: that of the commands, and about 1 us for each.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return redis.error_reply('OVERTAKEN') end
local at = 1
while at < #ARGV do
  local name, key, words = ARGV[at + 1], KEYS[tonumber(ARGV[at + 2])], tonumber(ARGV[at + 3])
  redis.call(name, key, unpack(ARGV, at + 4, at + 3 + words))
  at = at + 3 + words
end
return redis.status_reply('OK')
