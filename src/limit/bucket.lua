-- Takes what a request costs from every bucket, or from none. `arithmetic.rs` does the same step by step and
-- says why every number here is exact.
-- KEYS: the buckets. ARGV, three for each: units per microsecond (not 0), capacity and cost in units.
-- Returns: admitted (0 or 1); of the tightest limit its place, whole tokens left, µs to wait and µs until full.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local levels = {}
local tightest, longest = 0, 0
local function keep(i, level, rate, capacity)
  local ms = math.max(1, math.ceil(math.ceil((capacity - level) / rate) / 1000))
  redis.call('SET', KEYS[i], string.format('%.0f:%.0f', level, now), 'PX', string.format('%.0f', ms))
end
for i = 1, #KEYS do
  local rate, capacity, cost = tonumber(ARGV[i * 3 - 2]), tonumber(ARGV[i * 3 - 1]), tonumber(ARGV[i * 3])
  local level = capacity
  -- A value that is none of ours, of whatever type, counts as a full bucket, and is written over.
  local kept = redis.pcall('GET', KEYS[i])
  if type(kept) == 'string' then
    local units, at = string.match(kept, '^(%d+):(%d+)$')
    if units then
      local elapsed = now - at
      level = math.min(capacity, units + math.max(0, elapsed) * rate)
      -- The clock was set back: the bucket must not stand still until it has caught up.
      if elapsed < 0 then keep(i, level, rate, capacity) end
    end
  end
  levels[i] = level
  if level < cost then
    local wait = math.ceil((cost - level) / rate)
    if wait > longest then tightest, longest = i, wait end
  end
end
if tightest > 0 then
  local level, rate, capacity = levels[tightest], ARGV[tightest * 3 - 2], ARGV[tightest * 3 - 1]
  return {0, tightest, math.floor(level / 1000000000), longest, math.ceil((capacity - level) / rate)}
end
local fewest, full
for i = 1, #KEYS do
  local rate, capacity = ARGV[i * 3 - 2], ARGV[i * 3 - 1]
  local level = levels[i] - ARGV[i * 3]
  keep(i, level, rate, capacity)
  local tokens = math.floor(level / 1000000000)
  if not fewest or tokens < fewest then
    tightest, fewest, full = i, tokens, math.ceil((capacity - level) / rate)
  end
end
return {1, tightest, fewest, 0, full}
