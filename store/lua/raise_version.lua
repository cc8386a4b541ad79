-- Tells the scripts of a shard that a tenant's snapshot has a new version; a version never goes back.
--
-- KEYS[1] snapshot versions
-- ARGV per tenant: tenant, version
-- Reply: number of versions that rose. Cost: about 1 us a tenant.
local rose = 0
for at = 1, #ARGV, 2 do
  if tonumber(ARGV[at + 1]) > tonumber(redis.call('HGET', KEYS[1], ARGV[at]) or '0') then
    redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
    rose = rose + 1
  end
end
return rose
