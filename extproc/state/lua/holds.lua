-- Asks: tried, taken, held, given back; and the pass that gives those who wait their turn.
--
-- ask {id, takes, options, place, owner}    option {name, takes, high_water}
-- PREFIX .. 'h:' .. owner: hash, id -> {option (from 0, -1 none), ats of the takes, ats of the
-- option's} and the ask behind it. An `at` of -1 says that its take was not taken.
local SKIPPED = -1
local LOOKED_AT = 64   -- candidates tried in one pass
local SOON = 0.001     -- seconds until a pass goes on that did not come to the end
local wakes = {}       -- owner -> {{id, outcome}, ...}

local function hold_key(owner) return PREFIX .. 'h:' .. owner end

local function skipped_guard(takes, take)
  return take[5] >= 0 and not marked(state_of(takes[take[5] + 1][1]))
end

-- Try takes on top of what is `pending` by counter. Answers with the wait of each (false: skipped),
-- whether one that counts does not fit, whether one of these may not queue, and the longest wait.
local function try(takes, pending, share)
  local waits, fail, hard, longest = {}, false, false, 0
  for i, take in ipairs(takes) do
    local counter = take[1]
    local state = state_of(counter)
    if skipped_guard(takes, take) then
      waits[i] = false
    else
      local sum = (pending[counter[1]] or 0) + take[2]
      pending[counter[1]] = sum
      local wait = wait_of(counter, state, sum, share)
      waits[i] = wait
      if wait ~= 0 and not take[3] then
        fail = true
        hard = hard or not take[4]
        if wait < 0 or longest < 0 then longest = -1 else longest = max(longest, wait) end
      end
    end
  end
  return waits, fail, hard, longest
end

local function copied(pending)
  local other = {}
  for key, sum in pairs(pending) do other[key] = sum end
  return other
end

-- The first option with room (from 1) and the waits of its takes; nil if none has.
local function choose(options, pending)
  for _, full in ipairs({false, true}) do
    for i, option in ipairs(options) do
      if not full or option[3] < 1 then
        local waits, fail = try(option[2], copied(pending), full and 1 or option[3])
        if not fail then return i, waits end
      end
    end
  end
end

local function take_all(takes, waits)
  local ats = {}
  for i, take in ipairs(takes) do
    if waits[i] then
      local counter, state = take[1], state_of(take[1])
      ats[i] = place_of(counter, state)
      add(counter, state, take[2], ats[i])
    else
      ats[i] = SKIPPED
    end
  end
  return ats
end

-- `waits` and `ats` may be nil: nothing was tried, nothing is taken.
local function standings(takes, waits, ats)
  local found = {}
  for i, take in ipairs(takes) do
    local skipped = (waits and waits[i] == false) or (ats and ats[i] == SKIPPED)
    if skipped then
      found[i] = {0, 0, 0, SKIPPED}
    else
      local state = state_of(take[1])
      found[i] = standing(take[1], state, waits and waits[i] or 0, ats and ats[i])
    end
  end
  return found
end

-- For each option the standing of its take with the longest wait.
local function levels(options, pending)
  local found = {}
  for i, option in ipairs(options) do
    local waits = try(option[2], copied(pending), 1)
    local best
    for j in ipairs(option[2]) do
      local wait, most = waits[j], best and waits[best]
      if wait and (not best or (most >= 0 and (wait < 0 or wait > most))) then best = j end
    end
    if best then
      local counter = option[2][best][1]
      found[i] = standing(counter, state_of(counter), waits[best])
    else
      found[i] = {0, 0, 0, 0}
    end
  end
  return found
end

local function outcome(what, takes, option, of_levels, place, full)
  return {what, now, takes, option or -1, of_levels or {}, place or 0, full or ''}
end

local function hold(owner, id, blob, option, ats, level_ats)
  call('HSET', hold_key(owner), id, pack({option, ats, level_ats}) .. blob)
  call('ZADD', PREFIX .. 'owners', 'NX', now, owner)
end

-- What is held under an id, as it was granted; nil if nothing is.
local function held_outcome(owner, id)
  local raw = call('HGET', hold_key(owner), id)
  if not raw then return nil end
  local mine, ask = unpacked(raw)
  local option, level = mine[1], ask[3][mine[1] + 1]
  local of_level = level and standings(level[2], nil, mine[3])
  return outcome('granted', standings(ask[2], nil, mine[2]), option, of_level)
end

local function give_back(takes, ats)
  for i, take in ipairs(takes) do
    if ats[i] and ats[i] ~= SKIPPED then add(take[1], state_of(take[1]), -take[2], ats[i]) end
  end
end

-- Take what is held under an id out of the store: the takes and their ats, those of the option
-- behind the ask's; nil if nothing is.
local function unhold(owner, id)
  local raw = call('HGET', hold_key(owner), id)
  if not raw then return nil end
  call('HDEL', hold_key(owner), id)
  local mine, ask = unpacked(raw)
  local takes, ats, level = ask[2], mine[2], ask[3][mine[1] + 1]
  for i, take in ipairs(level and level[2] or {}) do
    takes[#takes + 1], ats[#ats + 1] = take, mine[3][i]
  end
  return takes, ats
end

-- Out of the queue, with what it holds given back.
local function withdraw(one)
  remove(one)
  if one.held then give_back(one.ask[2], one.ats) end
end

-- Give everything back that an id holds or waits for.
local function release(owner, id)
  local takes, ats = unhold(owner, id)
  if takes then give_back(takes, ats) end
  local one = waiter(id)
  if one then withdraw(one) end
end

local function wake(owner, id, what)
  wakes[owner] = wakes[owner] or {}
  table.insert(wakes[owner], {id, what})
end

-- Of what was changed in this call there may be more now.
local function forget_changed()
  if call('EXISTS', QUEUE .. 'u', QUEUE .. 'r') == 0 then return end
  for key in pairs(changed) do look_anew(key) end
end

-- Answers with the owners for whom nobody listens: their processes are gone, or their connections.
local function publish(mine)
  local deaf = {}
  for owner, list in pairs(wakes) do
    local heard = call('PUBLISH', 'tollgate:limits:wake:' .. owner, pack(list))
    if heard == 0 and owner ~= mine then deaf[#deaf + 1] = owner end
  end
  return deaf
end

-- Out of the queue without its turn.
local function turn_away(one, what)
  withdraw(one)
  wake(one.owner, one.id, outcome(what, standings(one.ask[2]), -1, levels(one.ask[3], {})))
end

local function drop_expired()
  -- An id without a waiter: a server that evicts keys has lost a part of the queue.
  local deadlines = call('ZRANGEBYSCORE', QUEUE .. 'dl', '-inf', now, 'LIMIT', 0, LOOKED_AT)
  for _, id in ipairs(deadlines) do
    local one = waiter(id)
    if one then turn_away(one, 'expired') else call('ZREM', QUEUE .. 'dl', id) end
  end
  if #deadlines > 0 then call('DEL', QUEUE .. 'stuck') end
end

-- Whether all that need any counter that one needs are blocked by the same and stand in one line:
-- then who is not looked at holds up nobody else, and passes nobody else.
local function stands_alone(takes)
  for _, take in ipairs(takes) do
    if take[5] >= 0 then return false end
    if not take[3] and call('HGET', QUEUE .. 'n', 'z' .. take[1][1]) == '*' then return false end
  end
  return true
end

-- Give one that waits its turn if it can be. Answers 'granted', 'own' or 'pool' with the seconds
-- until it may be worth another try (negative: nobody can know). `unfit`: counters that somebody
-- before it waits for, with the moment from which he might have it; a small one does not pass a
-- large one there. `firm`: those of them of which that holds for longer than the pass.
local function attempt(one, unfit, firm, weighted)
  local takes, pending, waits = one.ask[2], {}, one.waits
  if not one.held then
    for _, take in ipairs(takes) do
      if not take[3] and unfit[take[1][1]] then return 'own', -1 end
    end
    local fail, longest, _
    waits, fail, _, longest = try(takes, pending, 1)
    if fail then
      local alone = stands_alone(takes)
      for i, take in ipairs(takes) do
        if waits[i] and waits[i] ~= 0 and not take[3] then
          -- What hangs on a trend is no matter any more once that is not marked.
          local known = take[5] < 0
          unfit[take[1][1]] = known and (waits[i] > 0 and now + waits[i] or NEVER) or now
          firm[take[1][1]] = alone
        end
      end
      return 'own', longest
    end
  end
  local option, level_waits = choose(one.ask[3], pending)
  if not option and #one.ask[3] > 0 then
    local soonest = -1
    for _, level in ipairs(levels(one.ask[3], pending)) do
      if level[2] > 0 and (soonest < 0 or level[2] < soonest) then soonest = level[2] end
    end
    return 'pool', soonest
  end
  local ats = one.held and one.ats or take_all(takes, waits)
  local level = option and one.ask[3][option][2]
  local level_ats = level and take_all(level, level_waits) or {}
  pay(one, weighted)
  remove(one)
  hold(one.owner, one.id, one.blob, (option or 0) - 1, ats, level_ats)
  local of_level = level and standings(level, level_waits, level_ats)
  wake(one.owner, one.id, outcome(
    'granted', standings(takes, waits, ats), (option or 0) - 1, of_level))
  return 'granted'
end

local function sooner(a, b)
  if b <= 0 then return a end
  return (a < 0 or b < a) and b or a
end

-- One process comes by at the next moment at which something may have flowed back.
local function claim(seconds)
  if seconds <= 0 then return 0 end
  local moment, known = now + seconds, call('GET', QUEUE .. 'next')
  if known and tonumber(known) > now and tonumber(known) <= moment + 0.001 then return 0 end
  call('SET', QUEUE .. 'next', string.format('%.17g', moment))
  return seconds
end

-- What earlier passes found without room and nobody has given anything back of since: {counter ->
-- moment}; and the seconds until the first of those moments. What holds for one pass only is known
-- until a pass has come to the end of the queue. `anew`: one begins.
local function known_unfit(anew)
  local found, soonest = {}, -1
  forget_changed()
  if anew then call('DEL', QUEUE .. 'r') end
  for _, name in ipairs({'u', 'r'}) do
    local flat = call('HGETALL', QUEUE .. name)
    for i = 1, #flat, 2 do
      local moment = tonumber(flat[i + 1])
      if moment > now then
        found[flat[i]] = moment
        if moment < NEVER then soonest = sooner(soonest, moment - now) end
      else
        call('HDEL', QUEUE .. name, flat[i])
      end
    end
  end
  return found, soonest
end

-- Whether somebody may be held up by another: both need a counter that has no room for one.
local function holds_up(unfit)
  for key in pairs(unfit) do
    if waiting('x' .. key) > 1 then return true end
  end
  return false
end

local function remember_unfit(unfit, known, firm, done)
  for key, moment in pairs(unfit) do
    if not known[key] and (firm[key] or not done) then
      local name = firm[key] and 'u' or 'r'
      call('HSET', QUEUE .. name, key, string.format('%.17g', moment))
    end
  end
  if done then call('DEL', QUEUE .. 'r') end
end

-- Give turns until nobody can have one. Answers with seconds after which the caller should ask for
-- another pass, 0 if it need not.
local function dispatch()
  if waiting() == 0 then return 0 end
  drop_expired()
  local skipped, blocked, firm, looked = {}, {}, {}, 0
  local known, soonest = known_unfit()
  local unfit = copied(known)
  local again, served = true, false
  while again and looked < LOOKED_AT do
    again = false
    local ranks, weighted = classes()
    for _, class in ipairs(ranks) do
      local line = candidates(class.rank, skipped, blocked, unfit)
      local id = candidate(line)
      while id and looked < LOOKED_AT do
        looked = looked + 1
        local one, what, seconds = waiter(id), 'own', -1
        if one then what, seconds = attempt(one, unfit, firm, weighted) end
        if what == 'own' then
          soonest = sooner(soonest, seconds)
          pass_over(line)
        else
          if what == 'pool' then
            blocked[one.place[1]] = true
            soonest = sooner(soonest, seconds)
          end
          served = served or what == 'granted'
          if what == 'granted' and weighted then
            again = true
            break
          end
          line = candidates(class.rank, skipped, blocked, unfit)
        end
        id = candidate(line)
      end
      if again or looked >= LOOKED_AT then break end
    end
    if served and not again and looked < LOOKED_AT and holds_up(unfit) then
      -- Turns change the order: who was held up by another may be before him now.
      again, served, skipped, blocked, firm = true, false, {}, {}, {}
      known, soonest = known_unfit(true)
      unfit = copied(known)
    end
  end
  if waiting() == 0 then return 0 end
  local done = looked < LOOKED_AT
  remember_unfit(unfit, known, firm, done)
  if done then
    call('SET', QUEUE .. 'stuck', pack({soonest > 0 and now + soonest or math.huge, blocked}))
  else
    call('DEL', QUEUE .. 'stuck')
    soonest = SOON
  end
  return claim(soonest)
end

-- Whether a pass would change nothing if the only news is one more that waits in a pool: whatever
-- frees anything makes a pass of its own.
local function stuck(pool)
  local raw = call('GET', QUEUE .. 'stuck')
  local known = raw and unpacked(raw)
  return known and now < known[1] and known[2][pool]
end
