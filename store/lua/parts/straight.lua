-- Straight through where every account of a call has no bucket but its included one, counts a sum and carries nothing, as
-- most do: without the functions of the other parts, whose making would cost more than such a call. It does what they do,
-- and a test holds the two together; whatever it does not know is left to them, with nothing changed.
-- `first` is the place in ARGV of the number of accounts, `asks` says that acts are uses, which have ceilings.
do
  local call, number, max, min, format = redis.call, tonumber, math.max, math.min, string.format
  local at, accounts, tenants, hashes, plain = first, {}, {}, {}, true
  for a = 1, number(ARGV[first]) do
    if ARGV[at + 7] ~= 'sum' or ARGV[at + 8] ~= '1' or ARGV[at + 13] ~= '' or ARGV[at + 14] ~= '-1' then
      plain = false
      break
    end
    local place, prefix, life = ARGV[at + 3], ARGV[at + 4], number(ARGV[at + 6])
    local hash = hashes[place]
    if not hash then
      hash = {key = KEYS[number(place)], life = life, levels = {}, grown = {}}
      hashes[place] = hash
    elseif hash.life ~= 0 and (life == 0 or life > hash.life) then hash.life = life end
    local i, o, x, r = ARGV[at + 10], prefix .. 'o', prefix .. 'x', prefix .. 'r'
    local found = call('HMGET', hash.key, i, o, x, r)
    if found[1] or found[2] or found[3] or found[4] then hash.known = true end
    hash.levels[i], hash.levels[o] = number(found[1] or '0'), number(found[2] or '0')
    hash.levels[x] = number(found[3] or '0')
    tenants[a] = ARGV[at + 1]
    accounts[a] = {
      version = number(ARGV[at + 2]), overage = number(ARGV[at + 5]), size = number(ARGV[at + 11]),
      hash = hash, i = i, o = o, x = x, reserved = number(found[4] or '0'),
    }
    at = at + 14
  end

  if plain then
    local known = call('HMGET', KEYS[3], unpack(tenants))
    for a = 1, #accounts do accounts[a].stale = accounts[a].version < number(known[a] or '0') end

    local replies, lines, marks, seen = {}, {}, {}, {}
    at = at + 1
    for e = 1, number(ARGV[at]) do
      local tenant, account, quantity = number(ARGV[at + 1]), accounts[number(ARGV[at + 1])], number(ARGV[at + 2])
      local mark, digest, fingerprint = KEYS[number(ARGV[at + 3])], ARGV[at + 6], ARGV[at + 7]
      local before = seen[digest] or call('HGET', mark, digest)
        or call('HGET', KEYS[number(ARGV[at + 4])], digest) or call('HGET', KEYS[number(ARGV[at + 5])], digest)
      local payload, granted, most = ARGV[at + 8], -1, -1
      at = at + 8
      if asks then
        granted, most = number(ARGV[at + 1]), number(ARGV[at + 2])
        at = at + 2
      end

      local levels, grown = account.hash.levels, account.hash.grown
      local i, o, x = levels[account.i], levels[account.o], levels[account.x]
      local stand, highest = asks and {0, o, x, account.reserved, i}, max(i, o, x)
      local caps, count = {}, number(ARGV[at + 1])
      at = at + 1
      for c = 1, count do
        local place, field, life = ARGV[at + 1], ARGV[at + 2], number(ARGV[at + 3])
        local hash = hashes[place]
        if not hash then
          hash = {key = KEYS[number(place)], life = life, levels = {}, grown = {}}
          hashes[place] = hash
        elseif hash.life ~= 0 and (life == 0 or life > hash.life) then hash.life = life end
        local level = hash.levels[field]
        if not level then
          local found = call('HGET', hash.key, field)
          if found then hash.known = true end
          level = number(found or '0')
          hash.levels[field] = level
        end
        caps[c] = {hash = hash, field = field}
        highest = max(highest, level)
        if asks then stand[5 + c] = level end
        at = at + 3
      end

      local code = 0
      if before then code = before == fingerprint and 1 or 2
      elseif account.stale then code = 3
      elseif asks then
        if granted >= 0 and granted ~= max(account.size, i) then code = 6
        elseif most >= 0 and i + o + quantity > most then code = 5
        else
          for c = 1, count do
            local ceiling = number(ARGV[at + c])
            if ceiling >= 0 and stand[5 + c] + quantity > ceiling then code = 5 end
          end
        end
        if code == 5 then
          local earliest = call('ZSCORE', KEYS[4], tenants[tenant])
          local clock = earliest and max(number(ARGV[3]), number(call('GET', KEYS[5]) or '0'))
          if earliest and number(earliest) <= clock then code = 8 end
        end
      end
      if code == 0 and highest + quantity > 9e15 then code = 4 end
      if asks then at = at + count end

      if code == 0 then
        local from_included = min(quantity, max(0, account.size - i - o))
        local rest, from_overage = quantity - from_included, quantity - from_included
        if account.overage >= 0 then
          from_overage = min(rest, max(0, max(account.size, i) + account.overage - i - o - from_included))
        end
        local drawn = {from_included, from_overage, rest - from_overage}
        local line = payload .. cmsgpack.pack(drawn)
        if asks then
          local levels_before = {}
          for place = 2, #stand do levels_before[place - 1] = stand[place] end
          lines[#lines + 1] = '\147' .. line .. cmsgpack.pack(levels_before) -- three values
        else lines[#lines + 1] = '\146' .. line end -- a pair
        seen[digest] = fingerprint
        marks[#marks + 1] = {mark, digest, fingerprint}
        for b, field in ipairs({account.i, account.o, account.x}) do
          if drawn[b] > 0 then
            levels[field] = levels[field] + drawn[b]
            grown[field] = (grown[field] or 0) + drawn[b]
          end
        end
        for _, cap in ipairs(caps) do
          local hash, field = cap.hash, cap.field
          hash.levels[field] = hash.levels[field] + quantity
          if quantity > 0 then hash.grown[field] = (hash.grown[field] or 0) + quantity end
        end
      end
      if asks then stand[1] = code end
      replies[e] = stand or code
    end

    if #lines == 0 then
      replies[#replies + 1] = number(call('HGET', KEYS[3], '#') or '0')
      return replies
    end
    local last = call('HINCRBY', KEYS[3], '#', 1)
    local blob = '\221' .. struct.pack('>I4', #lines) .. table.concat(lines) -- an array
    call('XADD', KEYS[2], '*', 'n', #lines, 'b', blob, 'x', redis.sha1hex(blob), 's', format('%.0f', last))
    for _, hash in pairs(hashes) do
      local touched = false
      for field, amount in pairs(hash.grown) do
        call('HINCRBY', hash.key, field, format('%.0f', amount))
        touched = true
      end
      if touched and hash.life > 0 and not hash.known and call('EXPIRETIME', hash.key) < hash.life then
        call('EXPIREAT', hash.key, format('%.0f', hash.life))
      end
    end
    for _, mark in ipairs(marks) do
      call('HSET', mark[1], mark[2], mark[3])
      call('EXPIRE', mark[1], ARGV[2])
    end
    replies[#replies + 1] = last
    return replies
  end
end
