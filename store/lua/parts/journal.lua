-- The journal first, counters next, marks last: a script that is torn by a crash leaves at worst an act without a mark,
-- which the flush recognises.
-- What an act is recognised by, in ARGV: places of the marks' keys of today, yesterday and the day before,
--   digest (12 bytes), fingerprint (decimal)

local payloads, marks, seen = {}, {}, {}
local function take_mark()
  local days = {take_key(), take_key(), take_key()}
  local mark = {key = days[1], digest = take(), fingerprint = take()}
  mark.before = seen[mark.digest]
  for d = 1, 3 do mark.before = mark.before or redis.call('HGET', days[d], mark.digest) end
  return mark
end

-- The same act came before: 1, or its id with another body: 2.
local function repeated(mark) return mark.before == mark.fingerprint and 1 or 2 end

-- Keeps an act: its line, which is one msgpack value, and what it did.
local function keep(line) payloads[#payloads + 1] = line end

-- The same for one that is recognised by a mark.
local function note(mark, line)
  seen[mark.digest] = mark.fingerprint
  marks[#marks + 1] = mark
  keep(line)
end

-- One entry for all that was kept; answers the number of the last entry, by which a lost one is missed. It stands among
-- the `versions`. `life` of the marks in seconds.
local function write_all(journal, versions, life)
  if #payloads == 0 then return tonumber(redis.call('HGET', versions, '#') or '0') end
  local number = redis.call('HINCRBY', versions, '#', 1)
  local blob = '\221' .. struct.pack('>I4', #payloads) .. table.concat(payloads) -- an array
  redis.call('XADD', journal, '*', 'n', #payloads, 'b', blob, 'x', redis.sha1hex(blob), 's', whole(number))
  write_counters()
  for _, mark in ipairs(marks) do
    redis.call('HSET', mark.key, mark.digest, mark.fingerprint)
    redis.call('EXPIRE', mark.key, life)
  end
  return number
end
