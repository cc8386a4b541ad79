-- Rollover: what earlier periods carried into the account's, and what the next one has of it. policies.rollover is the
-- rule, and tests hold the two together.
-- In ARGV, last of an account: number of links (-1: nothing is carried, and no more follows), newest first; then how late
--   acts are for the account's period (0 in its time, 1 after its end, 2 after the seal); then one link more, for the
--   period itself, with the key of the next one (place 0: there is none).
-- A link: place of the key of a period's counters, units included at its end (scaled), most that it hands on (scaled),
--   generations that it hands on

local function take_link()
  return {key = take_key(), included = take_number(), most = take_number(), lasts = take_number()}
end

local function take_carrying(account)
  local count = take_number()
  if count < 0 then return end
  account.links, account.generations, account.included_size = {}, {}, account[account.included].size
  for l = 1, count do account.links[l] = take_link() end
  local late, after = take_number(), take_link()
  if late > 0 then account.late = late end
  if after.key then account.after = after end
  for b = 1, #account do
    local first = account[b].name:byte()
    if first and first < 128 then -- a number
      account[b].generation = first
      account.generations[first] = account[b]
    end
  end
  longer[account.key] = true
end

-- What a period hands on: of its included quantity first, then of its generations, which had so much.
local function handed_on(account, key, link, had)
  local prefix = account.prefix
  local drawn = level(key, prefix .. 'i') + level(key, prefix .. 'o') - level(key, prefix .. 'l')
  local left, found = link.most, {}
  for k = 1, math.min(#had + 1, link.lasts) do
    local rest = link.included - drawn
    if k > 1 then
      local field = prefix .. 'v' .. (k - 1)
      rest = had[k - 1] - level(key, field) + level(key, field .. ':l')
    end
    found[k] = math.max(0, math.min(left, rest))
    left = left - found[k]
  end
  return found
end

-- Gives the generations their sizes, and leaves to the next period what it has of this one.
local function fit(account)
  local sizes = {}
  for l = #account.links, 1, -1 do
    sizes = handed_on(account, account.links[l].key, account.links[l], sizes)
  end
  for k, bucket in ipairs(account.generations) do bucket.size = sizes[k] end
  local after, included = account.after, account[account.included]
  account.kept = 0
  if not after then return end
  local handed = account.late == 2 and handed_on(account, account.key, after, sizes) or {}
  for k = 1, after.lasts do
    local kept = math.max(handed[k] or 0, level(after.key, account.prefix .. 'v' .. k))
    local bucket = account.generations[k - 1]
    if k == 1 and kept > 0 then
      included.size = math.min(account.included_size, math.max(0, after.included - kept))
      account.kept = account.included_size - included.size
    elseif k == 1 then included.size = account.included_size
    elseif bucket then bucket.size = math.max(0, bucket.size - kept) end
  end
end

-- What is counted as late changes nothing of what is carried: overage after the period's end, all else after the seal.
local function count_late(account, drawn)
  local included = account.late == 2 and drawn[account.included] or 0
  grow(account.key, account.prefix .. 'l', included + drawn.o)
  if account.late < 2 then return end
  for b = 1, #account do
    if account[b].generation then grow(account[b].key, account[b].field .. ':l', drawn[b]) end
  end
end
