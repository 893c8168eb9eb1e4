-- The entries of the cache as a whole: which there are, what comes and goes, in which order.
-- KEYS: '{tollgate:cache}:', which every key here begins with: they live on one node. The answers
-- themselves lie elsewhere, each under a key of its own, and are nothing without their place here.
-- ARGV: what to do, then what each function below says. Numbers go out as text: Redis cuts them.
local P = KEYS[1]
local IDS, ROWS, ORDER, EXPIRY = P .. 'ids', P .. 'rows', P .. 'order', P .. 'expiry'
local STATE, LOG, PENDING, RECENT = P .. 'state', P .. 'log', P .. 'pending', P .. 'recent'
local HITS, SAVED = P .. 'hits', P .. 'saved'
-- A row: number, size, worth, exact key, and the sealed head, which Lua does not look into.
local ROW = '>dddc32'
local HEAD = 56
local SECONDARY = 1e-9
local EVICTED, MOST_FORGOTTEN = 256, 1000

local function get(name) return tonumber(redis.call('HGET', STATE, name) or '0') end
local function set(name, value) redis.call('HSET', STATE, name, string.format('%.17g', value)) end
local function add(name, value) set(name, get(name) + value) end
local function whole(value) return string.format('%.0f', value) end

local function wipe(epoch)
  redis.call('UNLINK', IDS, ROWS, ORDER, EXPIRY, STATE, LOG, PENDING, RECENT, HITS, SAVED)
  redis.call('HSET', STATE, 'epoch', epoch)
  return epoch
end

-- The epoch. A server short of memory may have let go of any key: what no longer fits together is
-- begun anew, and so is what was damaged.
local function begin(new)
  local epoch = redis.call('HGET', STATE, 'epoch')
  local rows = redis.call('HLEN', ROWS)
  if not epoch or rows ~= redis.call('HLEN', IDS) or rows ~= redis.call('ZCARD', ORDER)
    or rows ~= redis.call('ZCARD', EXPIRY) or not (get('bytes') >= 0) then
    return wipe(new)
  end
  return epoch
end

local function record(most, what, data)
  local number = get('number') + 1
  set('number', number)
  redis.call('XADD', LOG, 'MAXLEN', most, whole(number) .. '-1', what, data)
  return number
end

-- Removes entries. Answers with id and exact key of each there was, in turns.
local function remove(most, ids)
  local gone, names, bytes = {}, {}, 0
  for _, id in ipairs(ids) do
    local row = redis.call('HGET', ROWS, id)
    if row and #row < HEAD then
      redis.call('HDEL', ROWS, id) -- damaged: `begin` will see that something is missing
    elseif row then
      local _, size, _, exact = struct.unpack(ROW, row)
      redis.call('HDEL', ROWS, id)
      redis.call('HDEL', HITS, id)
      redis.call('HDEL', SAVED, id)
      redis.call('ZREM', ORDER, id)
      redis.call('ZREM', EXPIRY, id)
      if redis.call('HGET', IDS, exact) == id then redis.call('HDEL', IDS, exact) end
      bytes = bytes + size
      gone[#gone + 1] = id
      gone[#gone + 1] = exact
      names[#names + 1] = id
    end
  end
  if #names > 0 then
    add('bytes', -bytes)
    record(most, 'g', table.concat(names))
  end
  return gone
end

local function append(list, more)
  for _, one in ipairs(more) do list[#list + 1] = one end
end

-- ARGV: most changes, epoch seconds, how many. Removes some of what is over.
local function expire(most, now, many)
  local over = redis.call('ZRANGEBYSCORE', EXPIRY, '-inf', now, 'LIMIT', 0, many)
  local gone = remove(most, over)
  add('expired', #gone / 2)
  return gone
end

-- Removes what is over, then what saved least, until the rest is within bounds or so many went.
local function make_room(most, new, entries, bytes, now)
  local gone = {}
  local function over()
    return redis.call('HLEN', ROWS) > entries or get('bytes') > bytes
  end
  if not over() then return gone, 0 end
  append(gone, expire(most, now, EVICTED))
  local evicted = 0
  while over() and evicted < EVICTED do
    local first = redis.call('ZRANGE', ORDER, 0, 1, 'WITHSCORES')
    local at = first[1] == new and 3 or 1
    if not first[at] then break end
    set('inflation', tonumber(first[at + 1]))
    append(gone, remove(most, {first[at]}))
    evicted = evicted + 1
  end
  add('evicted', evicted)
  return gone, over() and evicted > 0 and 1 or 0
end

-- It is there, and nothing that is being forgotten is younger: whether it is one of that, Lua cannot
-- tell.
local function stays(id)
  local row = redis.call('HGET', ROWS, id)
  if not row or #row < HEAD then return false end
  local number = struct.unpack(ROW, row)
  for _, value in ipairs(redis.call('HVALS', PENDING)) do
    if tonumber(value) > number then return false end
  end
  return true
end

-- An entry may come. From `at` on stand the epoch and number of a cursor, or '' twice, and the
-- entry's attributes.
local function may(a, epoch, created, of, at)
  if created < get('older') or (of ~= '' and not stays(of)) then return false end
  if a[at] == '' then return true end
  local since = tonumber(a[at + 1])
  if a[at] ~= epoch or since < get('first') then return false end
  for i = at + 2, #a do
    if tonumber(redis.call('ZSCORE', RECENT, a[i]) or '0') > since then return false end
  end
  return true
end

local does = {}

-- A new epoch, when it was created, id of the alias' original or '', then as `may`. Answers with 1 or
-- 0.
function does.may(a)
  return may(a, begin(a[2]), tonumber(a[3]), a[4], 5) and 1 or 0
end

-- A new epoch, most changes, id, exact key, size, worth, created, expires, head, id of the alias'
-- original or '', most entries, most bytes, now, then as `may`.
-- Answers with 1 or 0, 1 if there is still too much, then id and exact key of what went.
function does.put(a)
  local epoch, most, id, exact = begin(a[2]), a[3], a[4], a[5]
  local size, worth = tonumber(a[6]), tonumber(a[7])
  if not may(a, epoch, tonumber(a[8]), a[11], 15) then return {0, 0} end
  local gone = remove(most, {id, redis.call('HGET', IDS, exact) or id})
  local number = record(most, 'p', id)
  redis.call('HSET', ROWS, id, struct.pack(ROW, number, size, worth, exact) .. a[10])
  redis.call('HSET', IDS, exact, id)
  local priority = get('inflation') + (worth + 0) / size + number * SECONDARY
  redis.call('ZADD', ORDER, string.format('%.17g', priority), id)
  redis.call('ZADD', EXPIRY, a[9], id)
  add('bytes', size)
  local more, over = make_room(most, id, tonumber(a[12]), tonumber(a[13]), a[14])
  append(gone, more)
  return {1, over, unpack(gone)}
end

-- Most changes, id that stays, most entries, most bytes, now. As `put`.
function does.room(a)
  local gone, over = make_room(a[2], a[3], tonumber(a[4]), tonumber(a[5]), a[6])
  return {1, over, unpack(gone)}
end

-- Id, hits, nano-dollars of each entry.
function does.touch(a)
  local inflation, number, all, sum = get('inflation'), get('number'), 0, 0
  for i = 2, #a, 3 do
    local row = redis.call('HGET', ROWS, a[i])
    if row and #row >= HEAD then
      local _, size, worth = struct.unpack(ROW, row)
      redis.call('HINCRBY', HITS, a[i], a[i + 1])
      local saved = redis.call('HINCRBY', SAVED, a[i], a[i + 2])
      local priority = inflation + (worth + saved) / size + number * SECONDARY
      redis.call('ZADD', ORDER, string.format('%.17g', priority), a[i])
      all, sum = all + tonumber(a[i + 1]), sum + tonumber(a[i + 2])
    end
  end
  add('hits', all)
  add('saved', sum)
  return 1
end

-- Most changes, what counts them or '', ids. Answers with id and exact key of each there was.
function does.drop(a)
  local ids = {}
  for i = 4, #a do ids[#ids + 1] = a[i] end
  local gone = remove(a[2], ids)
  if a[3] ~= '' then add(a[3], #gone / 2) end
  return gone
end

-- Most changes, now, how many. As `expire`.
function does.expire(a) return expire(a[2], a[3], a[4]) end

-- A new epoch, most changes, attribute, the time of `older` or ''.
function does.forget(a)
  begin(a[2])
  local number = record(a[3], 'f', a[4])
  if a[5] ~= '' then
    local limit = tonumber(a[5])
    set('older', math.max(get('older'), limit))
    local before = tonumber(redis.call('HGET', PENDING, 'older') or '0')
    redis.call('HSET', PENDING, 'older', string.format('%.17g', math.max(before, limit)))
    return 1
  end
  redis.call('HSET', PENDING, a[4], whole(number))
  redis.call('ZADD', RECENT, whole(number), a[4])
  local many = redis.call('ZCARD', RECENT) - MOST_FORGOTTEN
  if many > 0 then
    local last = redis.call('ZRANGE', RECENT, many - 1, many - 1, 'WITHSCORES')
    set('first', tonumber(last[2]))
    redis.call('ZREMRANGEBYRANK', RECENT, 0, many - 1)
  end
  return 1
end

-- Attribute and value of each: they are removed, unless forgotten anew since.
function does.swept(a)
  for i = 2, #a, 2 do
    if redis.call('HGET', PENDING, a[i]) == a[i + 1] then redis.call('HDEL', PENDING, a[i]) end
  end
  return 1
end

-- Answers with attribute and value of all that is forgotten and not removed yet.
function does.pending() return redis.call('HGETALL', PENDING) end

-- Cursor, how many. Answers with the next cursor, what is pending, then id, row, hits, saved of each.
function does.scan(a)
  local found = redis.call('HSCAN', ROWS, a[2], 'COUNT', a[3])
  local reply, rows = {found[1], redis.call('HGETALL', PENDING)}, found[2]
  for i = 1, #rows, 2 do
    reply[#reply + 1] = rows[i]
    reply[#reply + 1] = rows[i + 1]
    reply[#reply + 1] = redis.call('HGET', HITS, rows[i]) or '0'
    reply[#reply + 1] = redis.call('HGET', SAVED, rows[i]) or '0'
  end
  return reply
end

-- Id. Answers with what is pending, then row, hits, saved if it is there.
function does.row(a)
  local reply, row = {redis.call('HGETALL', PENDING)}, redis.call('HGET', ROWS, a[2])
  if not row then return reply end
  reply[2] = row
  reply[3] = redis.call('HGET', HITS, a[2]) or '0'
  reply[4] = redis.call('HGET', SAVED, a[2]) or '0'
  return reply
end

-- A new epoch. Answers with the epoch and the number of the last change.
function does.cursor(a)
  local epoch = begin(a[2])
  return {epoch, whole(get('number'))}
end

-- A new epoch, the number of the last change known, how many.
-- Answers with epoch, number, 1 if all since are there, then number, kind, data and row of each.
function does.changes(a)
  local epoch, after = begin(a[2]), tonumber(a[3])
  local number = get('number')
  local reply = {epoch, whole(number), 0}
  local first = redis.call('XRANGE', LOG, '-', '+', 'COUNT', 1)[1]
  local start = first and tonumber(string.match(first[1], '^%d+')) or number + 1
  if after > number or after + 1 < start then return reply end
  reply[3] = 1
  for _, one in ipairs(redis.call('XRANGE', LOG, whole(after + 1) .. '-0', '+', 'COUNT', a[4])) do
    reply[#reply + 1] = string.match(one[1], '^%d+')
    reply[#reply + 1] = one[2][1]
    reply[#reply + 1] = one[2][2]
    reply[#reply + 1] = one[2][1] == 'p' and redis.call('HGET', ROWS, one[2][2]) or ''
  end
  return reply
end

-- Answers with entries, then bytes, hits, saved, evicted, expired, forgotten.
function does.stats()
  local reply = {whole(redis.call('HLEN', ROWS))}
  for _, name in ipairs({'bytes', 'hits', 'saved', 'evicted', 'expired', 'forgotten'}) do
    reply[#reply + 1] = whole(get(name))
  end
  return reply
end

return does[ARGV[1]](ARGV)
