"""What the ledger does inside Redis, each in one step that nobody sees half of.

Every script touches keys of one UTC day only, which a cluster keeps on one node. Sums are Lua
numbers: exact up to 2^53, some nine million dollars in nano-dollars a row and day.
"""

from __future__ import annotations

from typing import Final

from extproc.state.shared import Script

WRITE: Final = Script("""\
-- KEYS: records, contents, order; then of each view: hour, day, bins of the hour, of the day.
-- ARGV: when records expire, when rollups do; then of each entry: id, start, record, 1 if it has a
--   content, the content, its cells as MessagePack: {{view (from 0), key, sums, bins or nil}, ...}.
-- Answers with the number of entries that were new.
local function add(hash, key, sums)
  local found = redis.call('HGET', hash, key)
  if found then
    local before, after = cmsgpack.unpack(found), {}
    for i, sum in ipairs(sums) do after[i] = before[i] + sum end
    sums = after
  end
  redis.call('HSET', hash, key, cmsgpack.pack(sums))
end
local function add_bins(hash, key, bins)
  local found = redis.call('HGET', hash, key)
  if found then
    local before = cmsgpack.unpack(found)
    for name, count in pairs(bins) do before[name] = (before[name] or 0) + count end
    bins = before
  end
  redis.call('HSET', hash, key, cmsgpack.pack(bins))
end
local new = 0
for i = 3, #ARGV, 6 do
  local cells = cmsgpack.unpack(ARGV[i + 5])
  if redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 2]) == 1 then
    new = new + 1
    redis.call('ZADD', KEYS[3], ARGV[i + 1], ARGV[i])
    if ARGV[i + 3] == '1' then redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 4]) end
    for _, cell in ipairs(cells) do
      local view = 4 + 4 * cell[1]
      add(KEYS[view], cell[2], cell[3])
      add(KEYS[view + 1], cell[2], cell[3])
      if cell[4] then
        add_bins(KEYS[view + 2], cell[2], cell[4])
        add_bins(KEYS[view + 3], cell[2], cell[4])
      end
    end
  end
end
if new > 0 then
  for i, key in ipairs(KEYS) do redis.call('EXPIREAT', key, i <= 3 and ARGV[1] or ARGV[2]) end
end
return new
""")

PAGE: Final = Script("""\
-- KEYS: records, order. ARGV: since, until, the id that came last or '', how many.
-- Answers with the last id and the records; with nothing at the end.
local rank = ARGV[3] ~= '' and redis.call('ZRANK', KEYS[2], ARGV[3])
local first = rank and rank + 1 or redis.call('ZCOUNT', KEYS[2], '-inf', '(' .. ARGV[1])
local last = math.min(first + ARGV[4], redis.call('ZCOUNT', KEYS[2], '-inf', '(' .. ARGV[2])) - 1
if last < first then return {} end
local ids = redis.call('ZRANGE', KEYS[2], first, last)
return {ids[#ids], redis.call('HMGET', KEYS[1], unpack(ids))}
""")

FORGET: Final = Script("""\
-- KEYS: records, contents, order. ARGV: before, how many. Answers with the number forgotten.
local ids = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])
if #ids == 0 then return 0 end
redis.call('HDEL', KEYS[1], unpack(ids))
redis.call('HDEL', KEYS[2], unpack(ids))
redis.call('ZREM', KEYS[3], unpack(ids))
return #ids
""")
