-- Counters. A script begins with this text; it is followed by queue.lua, order.lua, holds.lua
-- and calls.lua.
--
-- Values come as the client's structs do, arrays by position:
--   counter {key, kind, most, rate, period, params}    take {counter, amount, force, queue, guard}
--   standing {used, wait, reset, at}
-- A counter's state is one MessagePack array under one key; numbers in it are exact. States that
-- were read are kept until the call is over and those that changed are written at its end.
local PREFIX = '{tollgate:limits}:'
local call, pack, unpacked = redis.call, cmsgpack.pack, cmsgpack.unpack
local max, min, floor, exp = math.max, math.min, math.floor, math.exp
local EPSILON = 1e-9  -- units; what arithmetic in doubles may lose
local LEAST = 1e-6    -- seconds; a wait that arithmetic made to nothing
local SLICES = 60
local DAY = 86400
local NEVER = 1e300   -- a moment

local now          -- seconds; the server's clock, or a test's
local idle_more    -- seconds that a counter is kept beyond its use; more under a test's clock
local states, changed = {}, {}

-- Fresh states. bucket: {kind, blocked, level, at, warned, warned at}; window: {kind, blocked,
-- start, used, warned}; rolling: {kind, blocked, {slice -> units}, warned, warned at}; concurrent:
-- {kind, blocked, count}; trend: {kind, until, fast, slow, at, born}. `at` of a trend that was never
-- fed is -1.
local function fresh(counter)
  local kind = counter[2]
  if kind == 'bucket' then return {kind, 0, counter[3], now, 0, 0} end
  if kind == 'window' then return {kind, 0, 0, 0, 0} end
  if kind == 'rolling' then return {kind, 0, {}, 0, 0} end
  if kind == 'concurrent' then return {kind, 0, 0} end
  return {kind, 0, 0, 0, -1, 0}
end

-- The index of the boundary that begins the window the clock is in.
local function window_of(bounds)
  if now < bounds[2] then return 1 end
  if now < bounds[3] then return 2 end
  return 3
end

local function slice_of(counter) return floor(now / (counter[5] / SLICES)) end

-- Forget what has gone by; clocks that went back are met here.
local function roll(counter, state)
  local kind = state[1]
  if kind == 'bucket' then
    if state[4] > now + 1 then state[4] = now end
  elseif kind == 'window' then
    local start = counter[6][window_of(counter[6])]
    if state[3] ~= start then state[3], state[4], state[5] = start, 0, 0 end
  elseif kind == 'rolling' then
    local current, kept = slice_of(counter), {}
    for slice, units in pairs(state[3]) do
      if slice > current then slice = current end
      if slice > current - SLICES - 1 then kept[slice] = (kept[slice] or 0) + units end
    end
    state[3] = kept
  elseif kind == 'trend' and state[5] > now + 1 then
    state[5], state[6] = now, min(state[6], now)
  end
end

local function state_of(counter)
  local key = counter[1]
  local state = states[key]
  if state then return state end
  local raw = call('GET', PREFIX .. 'c:' .. key)
  state = raw and unpacked(raw)
  if not state or state[1] ~= counter[2] then state = fresh(counter) end
  roll(counter, state)
  states[key] = state
  return state
end

local function touch(counter) changed[counter[1]] = counter end

local function available(counter, state)
  return min(counter[3], state[3] + counter[4] * max(0, now - state[4]))
end

local function used_of(counter, state)
  local kind = state[1]
  if kind == 'bucket' then return max(0, counter[3] - available(counter, state)) end
  if kind == 'window' then return state[4] end
  if kind == 'concurrent' then return state[3] end
  if kind == 'rolling' then
    local sum = 0
    for _, units in pairs(state[3]) do sum = sum + units end
    return sum
  end
  if state[5] < 0 then return 0 end
  return state[3] * exp(-max(0, now - state[5]) / counter[6][1])
end

local function youngest_of(state)
  local found = -1
  for slice in pairs(state[3]) do if slice > found then found = slice end end
  return found
end

local function slice_gone(counter, slice)
  return (slice + SLICES + 1) * (counter[5] / SLICES) - now
end

local function reset_of(counter, state)
  local kind = state[1]
  if kind == 'bucket' then
    if counter[4] <= 0 then return 0 end
    return max(0, counter[3] - available(counter, state)) / counter[4]
  elseif kind == 'window' then
    return max(0, counter[6][window_of(counter[6]) + 1] - now)
  elseif kind == 'rolling' then
    local slice = youngest_of(state)
    return slice < 0 and 0 or slice_gone(counter, slice)
  elseif kind == 'trend' then
    return max(0, state[2] - now)
  end
  return 0
end

-- Seconds until enough of the oldest slices have gone.
local function rolling_wait(counter, state, amount)
  local slices = {}
  for slice in pairs(state[3]) do slices[#slices + 1] = slice end
  table.sort(slices)
  local used = used_of(counter, state)
  for _, slice in ipairs(slices) do
    used = used - state[3][slice]
    if used + amount <= counter[3] + EPSILON then return slice_gone(counter, slice) end
  end
  return reset_of(counter, state)
end

-- 0 if `amount` fits into `share` of the counter, else seconds until it fits into all of it;
-- negative if nobody can know.
local function wait_of(counter, state, amount, share)
  local kind, most, wait = state[1], counter[3], 0
  if kind == 'trend' then return 0 end
  if kind == 'bucket' then
    local room = available(counter, state)
    if amount > room - (most - most * share) + EPSILON then
      wait = counter[4] > 0 and max(LEAST, (amount - room) / counter[4]) or -1
    end
  elseif used_of(counter, state) + amount > most * share + EPSILON then
    if kind == 'window' then wait = max(LEAST, reset_of(counter, state))
    elseif kind == 'concurrent' or amount > most then wait = -1
    else wait = max(LEAST, rolling_wait(counter, state, amount)) end
  end
  local blocked = state[2] - now
  if blocked > 0 and wait >= 0 and blocked > wait then return blocked end
  return wait
end

-- Which window it counts in now.
local function place_of(counter, state)
  if state[1] == 'window' then return state[3] end
  if state[1] == 'rolling' then return slice_of(counter) end
  return 0
end

local function standing(counter, state, wait, at)
  return {used_of(counter, state), wait, reset_of(counter, state), at or place_of(counter, state)}
end

-- Change what is counted in the window `at` by `units`, in either direction.
local function add(counter, state, units, at)
  local kind = state[1]
  if kind == 'trend' then return end
  if kind == 'bucket' then
    state[3], state[4] = min(counter[3], available(counter, state) - units), now
  elseif kind == 'window' then
    if at ~= state[3] then return end
    state[4] = max(0, state[4] + units)
  elseif kind == 'rolling' then
    if at <= slice_of(counter) - SLICES - 1 then return end
    at = min(at, slice_of(counter))
    local left = max(0, (state[3][at] or 0) + units)
    state[3][at] = left > 0 and left or nil
  else
    state[3] = max(0, state[3] + units)
  end
  touch(counter)
end

local function marked(state) return state[2] > now end

-- Feed a trend; exponentially weighted means, the slow one corrected for its short past. Answers
-- with the usual rate when it is marked anew.
local function feed(counter, state, units)
  local fast, slow, factor, floor_, age, hold = unpack(counter[6])
  if state[5] < 0 then state[5], state[6] = now, now end
  local passed = max(0, now - state[5])
  state[3] = state[3] * exp(-passed / fast) + units / fast
  state[4] = state[4] * exp(-passed / slow) + units / slow
  state[5] = now
  touch(counter)
  local lived = now - state[6]
  local usual = lived > 0 and state[4] / (1 - exp(-lived / slow)) or 0
  if lived < age or state[3] < floor_ or state[3] < factor * usual then return nil end
  local before = marked(state)
  state[2] = now + hold
  if not before then return usual end
end

-- The share that is now crossed upwards and was not said in this window; nil if none.
local function crossed(counter, state)
  local kind = state[1]
  local flag = kind == 'window' and 5 or kind == 'bucket' and 5 or kind == 'rolling' and 4
  if not flag then return nil end
  if kind ~= 'window' and state[flag] > 0 and now - state[flag + 1] >= counter[5] then
    state[flag] = 0
  end
  local share = used_of(counter, state) / counter[3]
  local found = share >= 0.95 and 0.95 or share >= 0.8 and 0.8 or 0
  if found <= state[flag] then return nil end
  state[flag] = found
  if kind ~= 'window' then state[flag + 1] = now end
  touch(counter)
  return found
end

-- Take a provider's word.
local function correct(counter, remaining, seconds)
  local state = state_of(counter)
  if remaining then
    remaining = max(0, remaining)
    if state[1] == 'bucket' then
      state[3], state[4] = min(available(counter, state), remaining), now
    elseif state[1] == 'window' or state[1] == 'rolling' then
      local missing = counter[3] - remaining - used_of(counter, state)
      if missing > 0 then add(counter, state, missing, place_of(counter, state)) end
    end
  end
  if seconds and state[1] ~= 'trend' then state[2] = max(state[2], now + seconds) end
  touch(counter)
end

-- Seconds until a counter is as if it had never been used; 0 if it is.
local function life_of(counter, state)
  local kind, blocked = state[1], state[2] - now
  if kind == 'concurrent' then return max(state[3] > 0 and DAY or 0, blocked) end
  if kind == 'trend' then return max(3 * counter[6][2], blocked) end
  local life = max(reset_of(counter, state), blocked)
  if kind == 'window' then return (state[4] > 0 or blocked > 0) and life or 0 end
  local flag = kind == 'bucket' and 5 or 4
  if state[flag] > 0 then life = max(life, state[flag + 1] + counter[5] - now) end
  return life
end

local function write_counters()
  for key, counter in pairs(changed) do
    local state = states[key]
    local life = life_of(counter, state)
    if life > 0 then
      local kept = floor((min(life, 400 * DAY) + idle_more) * 1000)
      call('SET', PREFIX .. 'c:' .. key, pack(state), 'PX', kept)
    else
      call('DEL', PREFIX .. 'c:' .. key)
    end
  end
end
