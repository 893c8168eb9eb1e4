-- Who is next: candidates of a class in the order of fairness, without those that were passed over
-- and without blocked pools, read no further than needed.
local CHUNK = 4  -- read first; then more each time

-- `skipped`: ids passed over; `blocked`: pools that have no room.
local function candidates(rank, skipped, blocked)
  local found = {rank = rank, skipped = skipped, pools = {}, tenants = {}, order = {}}
  for _, pool in ipairs(call('HKEYS', QUEUE .. 'pl:' .. rank)) do
    if not blocked[pool] then
      local key = keys_of({pool, rank, 0, '', ''})
      found.pools[#found.pools + 1] = {pool = pool, key = key, read = 0, chunk = CHUNK}
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

local function read_tenants(self, pool)
  local chunk = flows(pool.key, pool.read, pool.read + pool.chunk - 1)
  pool.read = pool.read + #chunk
  local last = chunk[#chunk]
  pool.last = last and {tag = last.tag, seq = last.seq} or pool.last
  pool.done = #chunk < pool.chunk
  pool.chunk = 4 * pool.chunk
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

-- The first id of a feature in a pool that was not passed over.
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

-- A tenant's features with the first candidate of each, over all pools that have room.
local function read_features(self, tenant)
  local known, list = {}, {}
  for _, pool in ipairs(self.pools) do
    local place = {pool.pool, self.rank, 0, tenant.name, ''}
    local _, key = keys_of(place)
    for _, flow in ipairs(flows(key, 0, -1)) do
      place[5] = flow.name
      local _, _, ids = keys_of(place)
      local line = {key = ids, read = 0, tag = 0, chunk = 1}
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
  tenant.features = list
end

local function settle_heads(tenant)
  tenant.seq, tenant.gone = math.huge, true
  for _, feature in ipairs(tenant.features) do
    feature.line = first_of(feature.lines)
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
    local found, more = first_of(self.order), false
    for _, pool in ipairs(self.pools) do
      if not pool.done and (not pool.last or not found or before(pool.last, found)) then
        read_tenants(self, pool)
        more = true
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
      self.tenant, self.feature = tenant, first_of(tenant.features)
      return self.feature.line.id
    end
  end
end

-- Pass over the candidate that was found last.
local function pass_over(self)
  local line = self.feature.line
  self.skipped[line.id] = true
  head(self, line)
  settle_heads(self.tenant)
end
