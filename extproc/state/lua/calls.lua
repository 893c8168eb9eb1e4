-- What a process may ask for. ARGV: call, owner, now ('' for the server's), argument (MessagePack).
local SETTLED = 65536  -- ids remembered, twice
local SETTLED_SECONDS = 600
local LEASE_CHUNK = 512
local calls = {}

local function admit_now(ask, blob, owner, waits, option, level_waits)
  local takes = ask[2]
  local ats = take_all(takes, waits)
  local level = option and ask[3][option][2]
  local level_ats = level and take_all(level, level_waits) or {}
  hold(owner, ask[1], blob, (option or 0) - 1, ats, level_ats)
  local of_level = level and standings(level, level_waits, level_ats)
  return outcome('granted', standings(takes, waits, ats), (option or 0) - 1, of_level)
end

local function still_waiting(one)
  local pending = {}
  local waits = one.held and one.waits or try(one.ask[2], pending, 1)
  local found = standings(one.ask[2], waits, one.held and one.ats or nil)
  return outcome('waiting', found, -1, levels(one.ask[3], pending), position(one))
end

-- What the pass has told of an id; its owner need not be woken.
local function turn_of(owner, id)
  for i, woken in ipairs(wakes[owner] or {}) do
    if woken[1] == id then
      table.remove(wakes[owner], i)
      if #wakes[owner] == 0 then wakes[owner] = nil end
      return woken[2]
    end
  end
end

-- Depth is judged after the pass: nobody is refused for it who could go at once.
local function wait_in_line(ask, blob, owner, waits, fail)
  local id, takes, place = ask[1], ask[2], ask[4]
  local held = not fail and not awaited(takes)
  local ats = held and take_all(takes, waits) or {}
  call('ZADD', PREFIX .. 'owners', 'NX', now, owner)
  enqueue(ask, owner, blob, held, ats, waits)
  local seconds = stuck(place[1]) and 0 or dispatch()
  local found = turn_of(owner, id)
  if found then return found, seconds end
  local full, displaced = fullness(place)
  if full ~= '' then
    withdraw(waiter(id))
    seconds = dispatch()
    local pending = {}
    local now_waits = try(takes, pending, 1)
    local of_levels = levels(ask[3], pending)
    return outcome('full', standings(takes, now_waits), -1, of_levels, 0, full), seconds
  end
  if displaced then
    local one = waiter(displaced)
    if one then turn_away(one, 'displaced') end
    seconds = dispatch()
    found = turn_of(owner, id)
    if found then return found, seconds end
  end
  return still_waiting(waiter(id)), seconds
end

-- ask -> {outcome, seconds until another pass is due}
calls.admit = function(mine, ask, blob)
  local owner = ask[5] ~= '' and ask[5] or mine
  local known = held_outcome(owner, ask[1])
  if known then return {known, 0} end
  local takes, options, place = ask[2], ask[3], ask[4]
  if place then
    if waiting() > 0 then drop_expired() end
    local one = waiter(ask[1])
    if one then return {still_waiting(one), 0} end
  end
  local pending = {}
  local waits, fail, hard = try(takes, pending, 1)
  local option, level_waits
  local may_wait = place and place[7] > 0
  local passed = may_wait and waiting('p' .. place[1]) > 0
  local shut = passed or (place and not may_wait and waiting('h' .. place[1]) > 0)
  if not fail and not shut then option, level_waits = choose(options, pending) end
  if not fail and not passed and (option or #options == 0) then
    return {admit_now(ask, blob, owner, waits, option, level_waits), 0}
  end
  if hard or not may_wait then
    return {outcome('denied', standings(takes, waits), -1, levels(options, pending)), 0}
  end
  return {wait_in_line(ask, blob, owner, waits, fail)}
end

local function remember(id)
  local recent = PREFIX .. 'settled'
  call('SADD', recent, id)
  if call('SCARD', recent) >= SETTLED then call('RENAME', recent, recent .. ':before') end
  call('EXPIRE', recent, SETTLED_SECONDS)
end

local function was_settled(id)
  local recent = PREFIX .. 'settled'
  return call('SISMEMBER', recent, id) == 1 or call('SISMEMBER', recent .. ':before', id) == 1
end

-- Given back for want of a beat: it may still be settled.
local function unremember(id)
  call('SREM', PREFIX .. 'settled', id)
  call('SREM', PREFIX .. 'settled:before', id)
end

-- What is held, by counter: {key -> {{units, at}, ...}}.
local function by_key(takes, ats)
  local found = {}
  for i, take in ipairs(takes) do
    local key = take[1][1]
    found[key] = found[key] or {}
    table.insert(found[key], {take[2], ats[i], take[1]})
  end
  return found
end

-- Settle one take; `reserved`: {units, at}, nil if nothing was held of it. Answers with an event.
local function settle_take(counter, used, reserved, at)
  local state, kind = state_of(counter), counter[2]
  if kind == 'trend' then
    local usual = feed(counter, state, used)
    return usual and {counter[1], 0, state[3], usual}
  end
  if kind == 'concurrent' then
    if reserved then add(counter, state, -reserved[1], at) end
    return nil
  end
  add(counter, state, reserved and used - reserved[1] or used, at or place_of(counter, state))
  local share = counter[8] and crossed(counter, state)
  return share and {counter[1], share, used_of(counter, state), 0}
end

-- {id, takes, standings, used, owner, only held} -> {events, seconds}, nil for nothing of both
calls.settle = function(mine, settled)
  local id = settled[1]
  local owner = settled[5] ~= '' and settled[5] or mine
  local takes, ats = unhold(owner, id)
  local events, held = {}, takes and by_key(takes, ats) or {}
  if not takes then
    local one = waiter(id)
    if one then
      withdraw(one)
      remember(id)
      return {events, dispatch()}
    end
    if settled[6] or was_settled(id) then return nil end
  end
  for i, take in ipairs(settled[2]) do
    local reserved = held[take[1][1]] and table.remove(held[take[1][1]], 1)
    local stood = settled[3][i]
    local at = reserved and reserved[2] or not reserved and stood and stood[4] or nil
    if at ~= SKIPPED then
      local event = settle_take(take[1], settled[4][i], reserved, at)
      if event then events[#events + 1] = event end
    end
  end
  for _, list in pairs(held) do
    for _, one in ipairs(list) do give_back({{one[3], one[1]}}, {one[2]}) end
  end
  remember(id)
  local seconds = dispatch()
  if #events == 0 and seconds == 0 then return nil end
  return {events, seconds}
end

-- {id, owner} -> {{}, seconds} or nil
calls.leave = function(mine, asked)
  release(asked[2] ~= '' and asked[2] or mine, asked[1])
  remember(asked[1])
  local seconds = dispatch()
  return seconds > 0 and {{}, seconds} or nil
end

-- corrections -> {{}, seconds} or nil
calls.correct = function(_, corrections)
  for _, one in ipairs(corrections) do correct(one[1], one[2], one[3]) end
  local seconds = dispatch()
  return seconds > 0 and {{}, seconds} or nil
end

-- counters -> standings
calls.peek = function(_, counters)
  local found = {}
  for i, counter in ipairs(counters) do
    local state = state_of(counter)
    found[i] = standing(counter, state, wait_of(counter, state, 1, 1))
  end
  return found
end

-- nil -> {{}, seconds} or nil
calls.dispatch = function()
  local seconds = dispatch()
  return seconds > 0 and {{}, seconds} or nil
end

-- Give back what an owner holds and waits for, some of it; answers with whether that was all.
local function lapse(owner)
  local ids = call('HKEYS', hold_key(owner))
  local places = call('SMEMBERS', QUEUE .. 'o:' .. owner)
  for _, id in ipairs(places) do ids[#ids + 1] = id end
  for i = 1, min(#ids, LEASE_CHUNK) do
    release(owner, ids[i])
    unremember(ids[i])
    call('SREM', QUEUE .. 'o:' .. owner, ids[i])
  end
  if #ids > LEASE_CHUNK then return false end
  call('ZREM', PREFIX .. 'owners', owner)
  return true
end

-- Whoever was not heard of for a lease is dead, unless nobody was: then the server was away.
local function lapse_dead(lease)
  local owners, beaten = PREFIX .. 'owners', PREFIX .. 'beaten'
  local last = number(call('GET', beaten))
  call('SET', beaten, string.format('%.17g', now), 'PX', DAY * 1000)
  local away = now - last > lease
  local list = call('ZRANGE', owners, 0, -1, 'WITHSCORES')
  for i = 1, #list, 2 do
    local beat = tonumber(list[i + 1])
    if beat > now + 1 or (away and beat < now) then
      call('ZADD', owners, now, list[i])
    elseif now - beat > lease then
      lapse(list[i])
    end
  end
end

-- Tell owners who of theirs has had his turn. Where nobody listens it goes to the next one: a dead
-- process would take every turn until its lease is over. One that only lost its connection asks
-- again for those who wait, at its next beat.
local function tell(mine)
  local deaf = publish(mine)
  while #deaf > 0 do
    for _, owner in ipairs(deaf) do
      for _, woken in ipairs(wakes[owner]) do release(owner, woken[1]) end
      local places = call('SMEMBERS', QUEUE .. 'o:' .. owner)
      for i = 1, min(#places, LEASE_CHUNK) do release(owner, places[i]) end
    end
    wakes = {}
    if dispatch() > 0 then call('DEL', QUEUE .. 'next') end
    deaf = publish(mine)
  end
end

-- {lease, ids that wait here} -> {owners alive, seconds, {{id, outcome}, ...}}; an id that is
-- neither held nor waiting stands there without an outcome.
calls.beat = function(mine, asked)
  call('ZADD', PREFIX .. 'owners', now, mine)
  lapse_dead(asked[1])
  local seconds, found = dispatch(), {}
  for _, id in ipairs(asked[2]) do
    local known, one = held_outcome(mine, id), nil
    if not known then one = waiter(id) end
    if known then found[#found + 1] = {id, known}
    elseif not one then found[#found + 1] = {id, false} end
  end
  return {call('ZCARD', PREFIX .. 'owners'), seconds, found}
end

-- nil -> false while there is more to give back
calls.quit = function(mine)
  local all = lapse(mine)
  dispatch()
  return {all}
end

local clock = ARGV[3]
if clock == '' then
  local time = call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1e6
  idle_more = 1
else
  now = tonumber(clock)
  idle_more = 3600
end
local found = calls[ARGV[1]](ARGV[2], unpacked(ARGV[4]), ARGV[4])
tell(ARGV[2])
forget_changed()
write_counters()
return found and pack(found) or false
