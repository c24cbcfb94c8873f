-- Charges every bucket of a request, or none. `arithmetic.rs` does the same in the same steps and says why every
-- number here is exact.
-- KEYS: the buckets. ARGV, three for each: units per microsecond (not 0), capacity and cost in units.
-- Returns: admitted (0 or 1); of the most restrictive limit its number, whole tokens left, µs to wait and µs until
-- its bucket is full.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local levels = {}
local most_restrictive, longest = 0, 0
local function keep(i, level, rate, capacity)
  local ms = math.max(1, math.ceil(math.ceil((capacity - level) / rate) / 1000))
  redis.call('SET', KEYS[i], string.format('%.0f:%.0f', level, now), 'PX', string.format('%.0f', ms))
end
for i = 1, #KEYS do
  local rate, capacity, cost = tonumber(ARGV[i * 3 - 2]), tonumber(ARGV[i * 3 - 1]), tonumber(ARGV[i * 3])
  local level = capacity
  -- A value that this script did not write, of any type, counts as a full bucket and is overwritten.
  local kept = redis.pcall('GET', KEYS[i])
  if type(kept) == 'string' then
    local units, at = string.match(kept, '^(%d+):(%d+)$')
    if units then
      local elapsed = now - at
      level = math.min(capacity, units + math.max(0, elapsed) * rate)
      -- The clock was set back: the bucket must refill before the clock has caught up.
      if elapsed < 0 then keep(i, level, rate, capacity) end
    end
  end
  levels[i] = level
  if level < cost then
    local wait = math.ceil((cost - level) / rate)
    if wait > longest then most_restrictive, longest = i, wait end
  end
end
if most_restrictive > 0 then
  local level, rate, capacity = levels[most_restrictive], ARGV[most_restrictive * 3 - 2], ARGV[most_restrictive * 3 - 1]
  return {0, most_restrictive, math.floor(level / 1000000000), longest, math.ceil((capacity - level) / rate)}
end
local fewest, full
for i = 1, #KEYS do
  local rate, capacity = ARGV[i * 3 - 2], ARGV[i * 3 - 1]
  local level = levels[i] - ARGV[i * 3]
  keep(i, level, rate, capacity)
  local tokens = math.floor(level / 1000000000)
  if not fewest or tokens < fewest then
    most_restrictive, fewest, full = i, tokens, math.ceil((capacity - level) / rate)
  end
end
return {1, most_restrictive, fewest, 0, full}
