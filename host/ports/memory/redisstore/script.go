package redisstore

import "github.com/redis/go-redis/v9"

// What a tenant has is in four keys of one slot:
//
//	v  a hash from key to 19 digits, when the entry expires, and the value
//	k  a sorted set of the keys, all of score 0: in the order of their bytes
//	x  a sorted set of the keys that expire, by the milliseconds when they do
//	b  how many bytes keys and values have together, and how many of the keys expire
//
// A time is 19 digits of Unix nanoseconds, because a number of Lua's has 53 bits and texts
// of one length compare as what they write. A score, which is such a number, only
// finds the candidates.
//
// A Redis that drops keys when its memory is full drops one of the four and not the others, between
// two scripts. All but v can be made anew from it, so every script looks first whether the others say
// what it says.

// library is what the scripts share. drop removes a key, keep writes what there is then.
const library = `
local V, K, X, B = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local count, bytes = redis.call('HLEN', V), 0
local function drop(key, entry)
	redis.call('HDEL', V, key)
	redis.call('ZREM', K, key)
	redis.call('ZREM', X, key)
	count, bytes = count - 1, bytes - (#key + #entry - 19)
end
local function keep()
	if count == 0 then
		redis.call('DEL', B)
	else
		redis.call('SET', B, string.format('%.0f %.0f', bytes, redis.call('ZCARD', X)), 'KEEPTTL')
	end
end
local function make()
	redis.call('DEL', K, X, B)
	bytes = 0
	local all = redis.call('HGETALL', V)
	for i = 1, #all, 2 do
		local key, entry = all[i], all[i + 1]
		local expires = string.sub(entry, 1, 19)
		redis.call('ZADD', K, 0, key)
		if expires ~= '` + never + `' then redis.call('ZADD', X, string.sub(expires, 1, 13), key) end
		bytes = bytes + #key + #entry - 19
	end
	keep()
	local left = redis.call('PTTL', V)
	if left > 0 then
		for i = 2, 4 do redis.call('PEXPIRE', KEYS[i], left) end
	end
end
local total, expiring = string.match(redis.call('GET', B) or '', '^(%d+) (%d+)$')
if total then bytes = tonumber(total) end
if (total == nil) ~= (count == 0) or redis.call('ZCARD', K) ~= count or redis.call('ZCARD', X) ~= tonumber(expiring or 0) then make() end
`

// putScript stores an entry: 1 is done, 0 that the condition does not hold, -1 that there
// is no room. Where all that a tenant has expires, Redis forgets it by itself; how long
// that takes is reckoned from the caller's clock, since Redis's may be another.
var putScript = redis.NewScript(library + `
local key, value, expires, score, now, nowScore = unpack(ARGV, 1, 6)
local condition, expected, maxKeys, maxBytes, never = unpack(ARGV, 7, 11)
local before = count
for _, old in ipairs(redis.call('ZRANGEBYSCORE', X, '-inf', nowScore)) do
	local entry = redis.call('HGET', V, old)
	if string.sub(entry, 1, 19) <= now then drop(old, entry) end
end
if count < before then keep() end
local entry = redis.call('HGET', V, key)
if condition == 'absent' and entry then return 0 end
if condition == 'equal' and not (entry and string.sub(entry, 20) == expected) then return 0 end
local more = #value
if entry then more = more - (#entry - 19) else count = count + 1; more = more + #key end
bytes = bytes + more
if count > tonumber(maxKeys) or bytes > tonumber(maxBytes) then return -1 end
redis.call('HSET', V, key, expires .. value)
redis.call('ZADD', K, 0, key)
if expires == never then redis.call('ZREM', X, key) else redis.call('ZADD', X, score, key) end
keep()
if redis.call('ZCARD', X) == count then
	local last = redis.call('ZRANGE', X, -1, -1, 'WITHSCORES')[2]
	local left = string.format('%.0f', tonumber(last) - tonumber(nowScore) + 60000)
	for i = 1, 4 do redis.call('PEXPIRE', KEYS[i], left) end
else
	for i = 1, 4 do redis.call('PERSIST', KEYS[i]) end
end
return 1`)

// deleteScript removes a key: 1 is that it was there.
var deleteScript = redis.NewScript(library + `
local key, now = ARGV[1], ARGV[2]
local entry = redis.call('HGET', V, key)
if not entry then return 0 end
drop(key, entry)
keep()
if string.sub(entry, 1, 19) <= now then return 0 end
return 1`)

// listScript returns keys, or keys and values by turns up to a number of bytes, of which
// the first entry may have any.
var listScript = redis.NewScript(library + `
local min, max, limit, now, nowScore, maxBytes = unpack(ARGV)
limit, maxBytes = tonumber(limit), tonumber(maxBytes)
local found, count, bytes = {}, 0, 0
while true do
	local page = redis.call('ZRANGEBYLEX', K, min, max, 'LIMIT', 0, 500)
	for _, key in ipairs(page) do
		local score = redis.call('ZSCORE', X, key)
		local entry = nil
		if maxBytes > 0 or (score and tonumber(score) <= tonumber(nowScore)) then entry = redis.call('HGET', V, key) end
		if not entry or string.sub(entry, 1, 19) > now then
			if maxBytes > 0 then
				bytes = bytes + #key + #entry - 19
				if bytes > maxBytes and count > 0 then return found end
				found[2 * count + 1], found[2 * count + 2] = key, string.sub(entry, 20)
			else
				found[count + 1] = key
			end
			count = count + 1
			if count >= limit then return found end
		end
		min = '(' .. key
	end
	if #page < 500 then return found end
end`)
