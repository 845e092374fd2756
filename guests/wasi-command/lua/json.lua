-- JSON, as much as a command needs: decode keeps integers apart from floats, and
-- gives json.null for null.
local json = { null = setmetatable({}, { __tostring = function() return "null" end }) }

local escapes = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }

local function text_at(s, i) -- i is behind the opening quote
  local parts = {}
  while true do
    local stop = s:find('["\\]', i) or error("a string has no end")
    parts[#parts + 1] = s:sub(i, stop - 1)
    if s:sub(stop, stop) == '"' then return table.concat(parts), stop + 1 end
    local c = s:sub(stop + 1, stop + 1)
    if c == "u" then
      local code = tonumber(s:sub(stop + 2, stop + 5), 16) or error("not an escape")
      i = stop + 6
      if code >= 0xD800 and code < 0xDC00 then
        local low = tonumber(s:match("^\\u(%x%x%x%x)", i) or error("half a character"), 16)
        code, i = 0x10000 + (code - 0xD800) * 0x400 + low - 0xDC00, i + 6
      end
      parts[#parts + 1] = utf8.char(code)
    else
      parts[#parts + 1] = escapes[c] or error("not an escape")
      i = stop + 2
    end
  end
end

local value_at

local function list_at(s, i, close, item)
  i = s:match("^%s*()", i)
  if s:sub(i, i) == close then return i + 1 end
  while true do
    i = item(i)
    local c
    c, i = s:match("^%s*(.)()", i)
    if c == close then return i end
    if c ~= "," then error("not a list") end
  end
end

function value_at(s, i)
  local c
  c, i = s:match("^%s*()(.)", i)
  c, i = i, c
  if c == '"' then return text_at(s, i + 1) end
  if c == "[" then
    local list = {}
    i = list_at(s, i + 1, "]", function(at)
      list[#list + 1], at = value_at(s, at)
      return at
    end)
    return list, i
  end
  if c == "{" then
    local object = {}
    i = list_at(s, i + 1, "}", function(at)
      at = s:match('^%s*"()', at) or error("a name is missing")
      local name
      name, at = text_at(s, at)
      at = s:match("^%s*:()", at) or error("a colon is missing")
      object[name], at = value_at(s, at)
      return at
    end)
    return object, i
  end
  local word, after = s:match("^([%w+%-.]+)()", i)
  if word == "true" then return true, after end
  if word == "false" then return false, after end
  if word == "null" then return json.null, after end
  return tonumber(word) or error("not JSON: " .. tostring(word)), after
end

function json.decode(s)
  local v, i = value_at(s, 1)
  if s:find("%S", i) then error("more behind the value") end
  return v
end

local function quote(s)
  return '"' .. s:gsub('[%c"\\]', function(c) return ("\\u%04x"):format(c:byte()) end) .. '"'
end

function json.encode(v)
  local kind = type(v)
  if kind == "string" then return quote(v) end
  if kind ~= "table" or v == json.null then return tostring(v) end
  local parts = {}
  if #v > 0 then
    for i, item in ipairs(v) do parts[i] = json.encode(item) end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  for name, item in pairs(v) do parts[#parts + 1] = quote(name) .. ":" .. json.encode(item) end
  table.sort(parts)
  return "{" .. table.concat(parts, ",") .. "}"
end

return json
