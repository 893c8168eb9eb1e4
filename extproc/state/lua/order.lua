-- Who is next: candidates of a class in the order of fairness, without those that were passed over
-- and without lanes that are blocked, read no further than needed.
local CHUNK = 4  -- read first; then more each time

-- `skipped`: ids passed over; `blocked`, `unfit`: pools and counters that have no room.
local function candidates(rank, skipped, blocked, unfit)
  local found = {
    rank = rank, skipped = skipped, unfit = unfit, tenants = {}, order = {},
    lanes = {}, unread = {},  -- lanes of which there is more to read
  }
  for _, name in ipairs(call('HKEYS', QUEUE .. 'pl:' .. rank)) do
    local needs = unpacked(name)
    if not blocked[needs[1]] and not without_room(needs, unfit) then
      local key = keys_of({'', rank, 0, '', ''}, name)
      found.lanes[#found.lanes + 1] = {
        name = name, needs = needs, key = key, read = 0, chunk = CHUNK,
      }
      found.unread[#found.unread + 1] = found.lanes[#found.lanes]
    end
  end
  return found
end

local function before(a, b)
  if a.tag ~= b.tag then return a.tag < b.tag end
  return a.seq < b.seq
end

local function first_of(list)
  local found
  for _, one in ipairs(list) do
    if not one.gone and (not found or before(one, found)) then found = one end
  end
  return found
end

local function read_tenants(self, lane)
  local chunk = flows(lane.key, lane.read, lane.read + lane.chunk - 1)
  lane.read = lane.read + #chunk
  local last = chunk[#chunk]
  lane.last = last and {tag = last.tag, seq = last.seq} or lane.last
  lane.done = #chunk < lane.chunk
  lane.chunk = 4 * lane.chunk
  for _, flow in ipairs(chunk) do
    local known = self.tenants[flow.name]
    if not known then
      self.tenants[flow.name] = flow
      self.order[#self.order + 1] = flow
    elseif not known.features and flow.seq < known.seq then
      known.seq = flow.seq
    end
  end
end

-- The first id of a feature in a lane that was not passed over.
local function head(self, line)
  while true do
    local flat = call('ZRANGE', line.key, line.read, line.read + line.chunk - 1, 'WITHSCORES')
    for i = 1, #flat, 2 do
      if not self.skipped[flat[i]] then
        line.id, line.seq = flat[i], tonumber(flat[i + 1])
        return
      end
    end
    line.read = line.read + #flat / 2
    if #flat < 2 * line.chunk then
      line.id, line.seq, line.gone = nil, math.huge, true
      return
    end
    line.chunk = 4 * line.chunk
  end
end

local function later(a, b) return a.seq > b.seq end

-- A tenant's features with the first candidate of each, over all lanes that have room.
local function read_features(self, tenant)
  local known, list = {}, {}
  for _, lane in ipairs(self.lanes) do
    local place = {'', self.rank, 0, tenant.name, ''}
    local _, key = keys_of(place, lane.name)
    for _, flow in ipairs(flows(key, 0, -1)) do
      place[5] = flow.name
      local _, _, ids = keys_of(place, lane.name)
      local line = {key = ids, needs = lane.needs, read = 0, chunk = 1}
      head(self, line)
      local feature = known[flow.name]
      if not feature then
        feature = {tag = flow.tag, lines = {}}
        known[flow.name] = feature
        list[#list + 1] = feature
      end
      feature.lines[#feature.lines + 1] = line
    end
  end
  for _, feature in ipairs(list) do table.sort(feature.lines, later) end
  tenant.features = list
end

local function settle_heads(tenant)
  tenant.seq, tenant.gone = math.huge, true
  for _, feature in ipairs(tenant.features) do
    local lines = feature.lines
    while #lines > 0 and lines[#lines].gone do table.remove(lines) end
    feature.line = lines[#lines]
    feature.seq = feature.line and feature.line.seq or math.huge
    feature.gone = not feature.line
    if not feature.gone then
      tenant.gone = false
      tenant.seq = min(tenant.seq, feature.seq)
    end
  end
end

-- The tenant whose turn it is among those that were read, once none that was not could be before.
local function first_tenant(self)
  while true do
    local found, more, unread = first_of(self.order), false, self.unread
    for i = #unread, 1, -1 do
      local lane = unread[i]
      if not lane.last or not found or before(lane.last, found) then
        read_tenants(self, lane)
        more = true
        if lane.done then table.remove(unread, i) end
      end
    end
    if not more then return found end
  end
end

-- The id of the next candidate; nil when there is none.
local function candidate(self)
  while true do
    local tenant = first_tenant(self)
    if not tenant then return nil end
    if not tenant.features then
      read_features(self, tenant)
      settle_heads(tenant)
    end
    if not tenant.gone and tenant == first_tenant(self) then
      local feature = first_of(tenant.features)
      if not without_room(feature.line.needs, self.unfit) then
        self.tenant, self.feature = tenant, feature
        return feature.line.id
      end
      feature.line.gone = true  -- its lane has been found without room since it was read
      settle_heads(tenant)
    end
  end
end

-- Pass over the candidate that was found last.
local function pass_over(self)
  local line = self.feature.line
  if without_room(line.needs, self.unfit) then
    line.gone = true
  else
    self.skipped[line.id] = true
    head(self, line)
    table.sort(self.feature.lines, later)
  end
  settle_heads(self.tenant)
end
