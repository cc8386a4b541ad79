-- Lets one request to a payment provider go ahead, or says how long it is to wait: what all processes ask together
-- is bounded in number at once and in rate, as a whole and by lane. Each rate is the instant up to which turns were
-- given; ahead of now it may be by a second, so that a burst is let through.
--
-- KEYS[1] turns that are held: sorted set, holder by the end of its turn (ms). KEYS[2] rate of all. KEYS[3] of the lane
-- ARGV holder, now (ms), longest turn (ms), turns at once, ms a request of all, ms a request of the lane
-- Reply: 0 if it may go ahead, else ms to wait. Cost: O(log n) of 16.
local BURST = 1000
local now = tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[4]) then
  return 50
end
local all = math.max(now, tonumber(redis.call('GET', KEYS[2]) or '0'))
local lane = math.max(now, tonumber(redis.call('GET', KEYS[3]) or '0'))
local wait = math.max(all, lane) - now - BURST
if wait > 0 then
  return math.ceil(wait)
end
redis.call('SET', KEYS[2], string.format('%.0f', all + tonumber(ARGV[5])), 'PX', 60000)
redis.call('SET', KEYS[3], string.format('%.0f', lane + tonumber(ARGV[6])), 'PX', 60000)
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[1])
return 0
