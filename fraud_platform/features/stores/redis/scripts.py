"""What Redis carries out as one: nothing comes between, and nobody sees it half done."""

# KEYS: generation, sequence, outbox; then what was read, the records to write, the states to write, for each filing of
# each entry the set that it goes into, and, where the queue changes, queue and priorities.
# ARGV: generation seen, lifetime in ms, how many were read and how many records, states and changes of the queue there
# are, the versions seen (8 bytes each), for each entry a byte that says how many filings it has; then the records, the
# states, the entries' contents, and for each change of the queue the key (16 bytes), with its rank where it waits.
# Lists of small values are one argument each, because the client takes a microsecond for every argument.
# A script that has failed half-way is not undone. So it first looks at all keys of which another type would fail; then
# come INCRBY and XADD: what else can fail (no memory, an outbox that is ahead of the sequence) fails there.
COMMIT = r"""
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return false end
local read, records, states, queued = struct.unpack('>I4I4I4I4', ARGV[3])
for i = 1, read do
  local version = redis.call('GETRANGE', KEYS[3 + i], 0, 7)
  if version == '' then version = '\255\255\255\255\255\255\255\255' end
  if version ~= string.sub(ARGV[4], 8 * i - 7, 8 * i) then return false end
end
local entries, filed = #ARGV[5], 3 + read + records + states
redis.call('XLEN', KEYS[3])
local queue, priorities = #KEYS + 1, #KEYS + 2
if queued > 0 then
  queue, priorities = #KEYS - 1, #KEYS
  redis.call('ZCARD', KEYS[queue])
  redis.call('HLEN', KEYS[priorities])
end
for i = filed + 1, queue - 1 do redis.call('ZCARD', KEYS[i]) end

local sequence = redis.call('INCRBY', KEYS[2], entries)
local at = 5 + records + states
for i = 1, entries do
  local id, filings = string.format('%.0f', sequence - entries + i), string.byte(ARGV[5], i)
  if filings == 0 then
    redis.call('XADD', KEYS[3], id .. '-0', 'entry', ARGV[at + i])
  else
    local under = {}
    for j = 1, filings do under[j] = string.sub(KEYS[filed + j], -16) end
    redis.call('XADD', KEYS[3], id .. '-0', 'entry', ARGV[at + i], 'under', table.concat(under))
    for j = 1, filings do redis.call('ZADD', KEYS[filed + j], id, id) end
    filed = filed + filings
  end
end

local version = struct.pack('>I8', sequence)
for i = 1, records do
  redis.call('SET', KEYS[3 + read + i], version .. ARGV[5 + i])
end
for i = records + 1, records + states do
  redis.call('SET', KEYS[3 + read + i], version .. ARGV[5 + i], 'PX', ARGV[2])
end
for i = at + entries + 1, at + entries + queued do
  local key, rank = string.sub(ARGV[i], 1, 16), string.sub(ARGV[i], 17)
  local present = redis.call('HGET', KEYS[priorities], key)
  if present then
    redis.call('ZREM', KEYS[queue], present .. key)
    redis.call('HDEL', KEYS[priorities], key)
  end
  if rank ~= '' then
    redis.call('ZADD', KEYS[queue], 0, rank .. key)
    redis.call('HSET', KEYS[priorities], key, rank)
  end
end
return sequence
"""

# KEYS: the set of what is filed, outbox. ARGV: the place of the last one to give, from 0.
FILED = """
local found = {}
for _, id in ipairs(redis.call('ZREVRANGE', KEYS[1], 0, ARGV[1])) do
  local entry = redis.call('XRANGE', KEYS[2], id, id)[1]
  if entry then
    found[#found + 1] = id
    found[#found + 1] = entry[2][2]
  end
end
return found
"""

# KEYS: sequence, acknowledged, outbox, then the sets that entries are taken out of. ARGV: what is acknowledged, the
# oldest sequence that stays, then the sequence to take out of each set. Removing comes first: when there is no
# memory left, a script that began with a SET would be refused, and nothing could make room.
ACKNOWLEDGE = """
for i = 4, #KEYS do redis.call('ZREM', KEYS[i], ARGV[i - 1]) end
local removed = redis.call('XTRIM', KEYS[3], 'MINID', ARGV[2])
local through = math.min(tonumber(ARGV[1]), tonumber(redis.call('GET', KEYS[1]) or 0))
if through > tonumber(redis.call('GET', KEYS[2]) or 0) then
  redis.call('SET', KEYS[2], string.format('%.0f', through))
end
return removed
"""

# KEYS: rebuilds, sequence, generation. ARGV: the rebuild's number, through, the new generation.
PUBLISH = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return false end
if tonumber(redis.call('GET', KEYS[2]) or 0) > tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[3], ARGV[3])
return 1
"""

# KEYS: rebuilds. ARGV: the rebuild's number. A publication that is still on its way comes to nothing then.
GIVE_UP = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('INCR', KEYS[1]) end
"""
