-- Counters as this call sees them: each is read once, changed in memory, and written with all others at the end.
-- Amounts are scaled integers below 2^53, which Lua's doubles hold exactly; they are written as strings.
local COUNTER_MAX = 9e15
local function whole(n) return string.format('%.0f', n) end

local at = 0 -- the argument that was read last; keys are named by their place among KEYS, 0 being none
local function take() at = at + 1; return ARGV[at] end
local function take_number() return tonumber(take()) end
local function take_key() return KEYS[take_number()] end

local levels, grown, ends = {}, {}, {} -- by key, then field: as it stands, by how much it changed; by key: end of life
local longer = {} -- keys that must live longer than their first field said
local known_keys = {} -- those that were there before: their end of life was set with their first field
local function level(key, field)
  local known = levels[key]
  if not known then known = {}; levels[key] = known; grown[key] = {} end
  if not known[field] then
    local found = redis.call('HGET', key, field)
    if found then known_keys[key] = true end
    known[field] = tonumber(found or '0')
  end
  return known[field]
end
local function grow(key, field, amount)
  if amount ~= 0 then
    local now = level(key, field)
    levels[key][field] = now + amount
    grown[key][field] = (grown[key][field] or 0) + amount
  end
end

-- A key lives as long as the counter in it that is needed longest; 0: for good.
local function keep_until(key, life)
  local known = ends[key]
  life = tonumber(life)
  if not known or (known ~= 0 and (life == 0 or life > known)) then ends[key] = life end
end

local function write_counters()
  for key, fields in pairs(grown) do
    local touched = false
    for field, amount in pairs(fields) do
      if amount ~= 0 then redis.call('HINCRBY', key, field, whole(amount)); touched = true end
    end
    local life = ends[key] or 0
    if touched and life > 0 and (longer[key] or not known_keys[key]) and redis.call('EXPIRETIME', key) < life then
      redis.call('EXPIREAT', key, whole(life))
    end
  end
end
