-- The queue: who waits, in which order, and what is remembered of fairness.
--
-- place {pool, rank, weight, tenant, feature, cost, ttl, depth, class_depth, tenant_depth,
--   feature_depth, label}
-- Names under PREFIX .. 'q:', all gone when nobody waits:
--   n                 hash, how many wait: 'n' all, 'k'rank, 'p'pool,
--                     'h'pool those that hold their takes, 't'.., 'f'.. of a tenant, feature,
--                     'x'counter those that hold nothing and need it,
--                     'z'counter what those have in common: lane and flow, '*' if nothing
--   seq               string, numbers given out (kept)
--   waiters           hash, id -> {owner, seq, held, ats, waits} and the ask behind
--                     it; waits: of held takes, as they were before
--   o:OWNER           set, ids that an owner waits for
--   dl                sorted set, id by deadline
--   w                 hash, rank of a class in which anybody waits -> weight
--   next              string, the moment at which a process comes by
--   stuck             string, {until, {pool -> true}}: what the last pass found without room
--   u                 hash, counter -> moment before which nobody who needs it can go, unless
--                     something of it is given back
--   r                 the same, until a pass has come to the end of the queue
--   k:RANK            sorted set, ids of a class by number
--   pl:RANK           hash, lane -> how many wait
--   pt:RANK,TENANT    the same of a tenant
--   t:RANK,LANE       sorted set, number of the first waiter .. tenant by tag
--   f:RANK,LANE,TENANT            the same of features
--   c:RANK,LANE,TENANT,FEATURE    sorted set, ids by number
--   v:LEVEL           hash, 't'child -> tag of a child that waits, 'v' -> virtual time
--   i:LEVEL           sorted set, children that wait no longer by tag, if that is still ahead
-- LANE stands for those that are blocked by the same: their pool, and the counters of which they
-- have yet to take. LEVEL is '' for the classes, a rank for its tenants, rank and tenant for its features. Fair
-- queueing is start-time fair queueing: Goyal, Vin, Cheng, "Start-time Fair Queuing" (1996).
local QUEUE = PREFIX .. 'q:'

-- A name's part that cannot run into the next one.
local function part(text) return ',' .. #text .. ':' .. text end

local function number(text) return text and tonumber(text) or 0 end

local function waiting(field) return number(call('HGET', QUEUE .. 'n', field or 'n')) end

local function tag_of(level, child)
  local tag = call('HGET', QUEUE .. 'v:' .. level, 't' .. child)
  return tag and tonumber(tag)
end

-- A child begins to wait: not before what it has had already, nor before those that are served.
local function arrive(level, child)
  local tag = tag_of(level, child)
  if tag then return tag end
  local before = number(call('ZSCORE', QUEUE .. 'i:' .. level, child))
  tag = max(before, number(call('HGET', QUEUE .. 'v:' .. level, 'v')))
  call('HSET', QUEUE .. 'v:' .. level, 't' .. child, tag)
  call('ZREM', QUEUE .. 'i:' .. level, child)
  return tag
end

-- A child was served.
local function charge(level, child, cost)
  local tag = tag_of(level, child) or 0
  local time = max(tag, number(call('HGET', QUEUE .. 'v:' .. level, 'v')))
  call('HSET', QUEUE .. 'v:' .. level, 't' .. child, tag + cost, 'v', time)
  call('ZREMRANGEBYSCORE', QUEUE .. 'i:' .. level, '-inf', time)
  return tag + cost
end

-- A child waits no longer.
local function depart(level, child)
  local tag = tag_of(level, child) or 0
  call('HDEL', QUEUE .. 'v:' .. level, 't' .. child)
  if tag > number(call('HGET', QUEUE .. 'v:' .. level, 'v')) then
    call('ZADD', QUEUE .. 'i:' .. level, tag, child)
  end
end

local function forget(level) call('DEL', QUEUE .. 'v:' .. level, QUEUE .. 'i:' .. level) end

local function member(seq, name) return string.format('%014d', seq) .. name end

local function member_parts(text) return tonumber(string.sub(text, 1, 14)), string.sub(text, 15) end

-- The flows in a sorted set, in order of tag and then of who came first: {name, tag, seq}.
local function flows(key, first, last)
  local found, flat = {}, call('ZRANGE', key, first, last, 'WITHSCORES')
  for i = 1, #flat, 2 do
    local seq, name = member_parts(flat[i])
    found[#found + 1] = {name = name, tag = tonumber(flat[i + 1]), seq = seq}
  end
  return found
end

local function first_seq(features)
  local found
  for _, flow in ipairs(features) do
    if not found or flow.seq < found then found = flow.seq end
  end
  return found
end

local function lane_of(place, takes, held)
  local lane = {place[1]}
  for _, take in ipairs(held and {} or takes) do
    if not take[3] then lane[#lane + 1] = take[1][1] end
  end
  return pack(lane)
end

-- Whether nobody of a lane can go: its counters are among those without room.
local function without_room(lane, unfit)
  for i = 2, #lane do
    if unfit[lane[i]] then return true end
  end
  return false
end

local function keys_of(place, lane)
  local base = place[2] .. part(lane)
  local features = QUEUE .. 'f:' .. base .. part(place[4])
  local ids = QUEUE .. 'c:' .. base .. part(place[4]) .. part(place[5])
  return QUEUE .. 't:' .. base, features, ids
end

local function fields_of(place)
  local tenant = place[2] .. part(place[4])
  return 'k' .. place[2], 'p' .. place[1], 't' .. tenant, 'f' .. tenant .. part(place[5])
end

local function tally(field, by)
  local left = call('HINCRBY', QUEUE .. 'n', field, by)
  if left <= 0 then call('HDEL', QUEUE .. 'n', field) end
  return left
end

-- Whether somebody who holds nothing waits for a counter that these takes would queue for: a small
-- one does not take what a large one waits for.
local function awaited(takes)
  for _, take in ipairs(takes) do
    if take[4] and not take[3] and waiting('x' .. take[1][1]) > 0 then return true end
  end
  return false
end

-- Who waits for a counter has changed: that it has no room for the first of them says nothing.
local function look_anew(key)
  call('HDEL', QUEUE .. 'u', key)
  call('HDEL', QUEUE .. 'r', key)
end

local function count(place, takes, held, by, lane)
  local left, flow = {}, nil
  if held then
    tally('h' .. place[1], by)
  else
    for _, take in ipairs(takes) do
      local key = take[1][1]
      if not take[3] then
        look_anew(key)
        local n = tally('x' .. key, by)
        flow = flow or place[2] .. part(place[4]) .. part(place[5]) .. lane
        if n <= 0 then call('HDEL', QUEUE .. 'n', 'z' .. key)
        elseif by > 0 and (n == 1 or call('HGET', QUEUE .. 'n', 'z' .. key) ~= flow) then
          call('HSET', QUEUE .. 'n', 'z' .. key, n == 1 and flow or '*')
          if n > 1 then call('DEL', QUEUE .. 'u') end  -- who stood alone does so no longer
        end
      end
    end
  end
  for i, field in ipairs({'n', fields_of(place)}) do
    left[i] = tally(field, by)
  end
  for _, key in ipairs({'pl:' .. place[2], 'pt:' .. place[2] .. part(place[4])}) do
    if call('HINCRBY', QUEUE .. key, lane, by) <= 0 then call('HDEL', QUEUE .. key, lane) end
  end
  return left
end

local function enqueue(ask, owner, blob, held, ats, waits)
  local id, takes, place = ask[1], ask[2], ask[4]
  local seq = call('INCR', QUEUE .. 'seq')
  local rank, tenant, feature = place[2], place[4], place[5]
  local below = rank .. part(tenant)
  arrive('', rank)
  local tag, inner = arrive(rank, tenant), arrive(below, feature)
  local lane = lane_of(place, takes, held)
  local tenants, features, ids = keys_of(place, lane)
  local first = first_seq(flows(features, 0, -1))
  if call('EXISTS', ids) == 0 then call('ZADD', features, inner, member(seq, feature)) end
  if not first then call('ZADD', tenants, tag, member(seq, tenant)) end
  call('ZADD', ids, seq, id)
  call('ZADD', QUEUE .. 'k:' .. rank, seq, id)
  call('HSET', QUEUE .. 'w', rank, place[3])
  count(place, takes, held, 1, lane)
  call('ZADD', QUEUE .. 'dl', now + place[7], id)
  call('SADD', QUEUE .. 'o:' .. owner, id)
  call('HSET', QUEUE .. 'waiters', id, pack({owner, seq, held, ats, waits}) .. blob)
end

-- {id, owner, seq, held, ats, waits, ask, place, lane, blob}, or nil.
local function waiter(id)
  local raw = call('HGET', QUEUE .. 'waiters', id)
  if not raw then return nil end
  local offset, mine = cmsgpack.unpack_one(raw)
  local blob = string.sub(raw, offset + 1)
  local ask = unpacked(blob)
  return {
    id = id, owner = mine[1], seq = mine[2], held = mine[3], ats = mine[4],
    waits = mine[5], ask = ask, place = ask[4], lane = lane_of(ask[4], ask[2], mine[3]),
    blob = blob,
  }
end

-- Take one out of the sorted sets in which its tenant and feature stand for a lane.
local function unlist(one)
  local place = one.place
  local tenants, features, ids = keys_of(place, one.lane)
  local before = flows(features, 0, -1)
  local old, own = first_seq(before), nil
  for _, flow in ipairs(before) do if flow.name == place[5] then own = flow end end
  call('ZREM', ids, one.id)
  if not own or own.seq ~= one.seq then return end
  call('ZREM', features, member(own.seq, own.name))
  local head = call('ZRANGE', ids, 0, 0, 'WITHSCORES')
  own.seq = head[2] and tonumber(head[2]) or math.huge
  if head[2] then call('ZADD', features, own.tag, member(own.seq, own.name)) end
  local first = first_seq(before)
  if first == old then return end
  local gone = member(old, place[4])
  local tag = call('ZSCORE', tenants, gone)
  call('ZREM', tenants, gone)
  if first < math.huge then call('ZADD', tenants, tag, member(first, place[4])) end
end

-- Take one out of the queue; what it holds is the caller's to deal with.
local function remove(one)
  local place = one.place
  local rank, tenant = place[2], place[4]
  unlist(one)
  call('ZREM', QUEUE .. 'k:' .. rank, one.id)
  call('ZREM', QUEUE .. 'dl', one.id)
  call('SREM', QUEUE .. 'o:' .. one.owner, one.id)
  call('HDEL', QUEUE .. 'waiters', one.id)
  local left = count(place, one.ask[2], one.held, -1, one.lane)
  local below = rank .. part(tenant)
  if left[5] <= 0 then depart(below, place[5]) end
  if left[4] <= 0 then forget(below) depart(rank, tenant) end
  if left[2] <= 0 then
    forget(rank)
    depart('', rank)
    call('HDEL', QUEUE .. 'w', rank)
  end
  if left[1] <= 0 then
    forget('')
    call('DEL', QUEUE .. 'next', QUEUE .. 'stuck', QUEUE .. 'u', QUEUE .. 'r')
  end
end

-- It was served: its class, tenant and feature pay, in every lane in which they wait.
local function pay(one, weighted)
  local place = one.place
  local rank, tenant, feature = place[2], place[4], place[5]
  if weighted then charge('', rank, 1 / tonumber(call('HGET', QUEUE .. 'w', rank))) end
  local cost = max(1, place[6])
  local outer = charge(rank, tenant, cost)
  local inner = charge(rank .. part(tenant), feature, cost)
  for _, lane in ipairs(call('HKEYS', QUEUE .. 'pt:' .. rank .. part(tenant))) do
    local tenants, features = keys_of(place, lane)
    local inside = flows(features, 0, -1)
    if #inside > 0 then
      call('ZADD', tenants, outer, member(first_seq(inside), tenant))
      for _, flow in ipairs(inside) do
        if flow.name == feature then call('ZADD', features, inner, member(flow.seq, feature)) end
      end
    end
  end
end

-- Ranks in the order in which they are served.
local function classes()
  local found, weighted = {}, true
  local flat = call('HGETALL', QUEUE .. 'w')
  for i = 1, #flat, 2 do
    weighted = weighted and tonumber(flat[i + 1]) > 0
    found[#found + 1] = {rank = tonumber(flat[i])}
  end
  table.sort(found, function(a, b) return a.rank < b.rank end)
  if weighted then
    for _, class in ipairs(found) do class.tag = tag_of('', class.rank) or 0 end
    table.sort(found, function(a, b)
      if a.tag ~= b.tag then return a.tag < b.tag end
      return a.rank < b.rank
    end)
  end
  return found, weighted
end

local function position(one)
  local rank, before = one.place[2], 0
  local ranks, weighted = classes()
  for _, class in ipairs(ranks) do
    local key = QUEUE .. 'k:' .. class.rank
    if weighted or class.rank == rank then
      before = before + call('ZCOUNT', key, '-inf', '(' .. string.format('%d', one.seq))
    elseif class.rank < rank then
      before = before + call('ZCARD', key)
    end
  end
  return before + 1
end

-- Which depth is passed with one that waits already, '' if none; and the id of who makes room, if
-- somebody does.
local function fullness(place)
  local class, _, tenant, feature = fields_of(place)
  if waiting(feature) > place[11] then return 'feature' end
  if waiting(tenant) > place[10] then return 'tenant' end
  if waiting(class) > place[9] then return 'class' end
  if waiting() <= place[8] then return '' end
  local last = -1
  for _, class in ipairs(classes()) do last = max(last, class.rank) end
  if last <= place[2] then return 'all' end
  return '', call('ZREVRANGE', QUEUE .. 'k:' .. last, 0, 0)[1]
end
