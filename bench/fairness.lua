-- One client of bench/fairness. door: what it asks for; key: with which key; delay: how many ms each connection waits
-- between requests, none if it is not set; run: what makes its idempotency keys and accounts its own.
local door, key, run = os.getenv("door"), os.getenv("key"), os.getenv("run")
local payload = string.rep("p", 200)
local n = 0

if os.getenv("delay") then
  local pause = tonumber(os.getenv("delay"))
  delay = function() return pause end
end

local function headers(more)
  local all = { ["Authorization"] = "Bearer " .. key, ["Content-Type"] = "application/x-www-form-urlencoded" }
  for name, value in pairs(more or {}) do all[name] = value end
  return all
end

local function post(path, body, more)
  more = more or {}
  more["Idempotency-Key"] = run .. "-" .. n
  return wrk.format("POST", path, headers(more), body)
end

local secrets = "/v1/apps/secrets"
local doors = {
  set = function()
    local where = string.format("name=name-%d&scope[type]=user&scope[user]=usr_%d", n % 500, n % 500)
    return post(secrets, where .. "&payload=" .. payload)
  end,
  find = function()
    local where = string.format("name=name-%d&scope[type]=user&scope[user]=usr_%d", n % 500, n % 500)
    return wrk.format("GET", secrets .. "/find?expand[]=payload&" .. where, headers())
  end,
  list = function()
    return wrk.format("GET", secrets .. "?scope[type]=user&scope[user]=usr_page&expand[]=data.payload", headers())
  end,
  -- Each name is set and then deleted; two in three are deletes, some of nothing.
  delete = function()
    local where = string.format("name=name-%d&scope[type]=user&scope[user]=usr_page", n % 3)
    if n % 9 < 3 then return post(secrets, where .. "&payload=" .. string.rep("p", 2000)) end
    return post(secrets .. "/delete", where .. "&expand[]=payload")
  end,
  mint = function() return post("/v1/ephemeral_keys", "user=usr_" .. n) end,
  tenant = function()
    return post(secrets, "name=k&scope[type]=account&payload=p", { ["Stripe-Account"] = "acct_" .. run .. "_" .. n })
  end,
  bad = function() return post(secrets, "scope[user=" .. string.rep("%41", 10000) .. "&x[[y=1") end,
}

request = function()
  n = n + 1
  return doors[door]()
end

-- How many were answered how, for the one who reads along.
local counts = {}
local threads = {}
function setup(thread) table.insert(threads, thread) end
function response(status)
  ok = (ok or 0) + (status == 200 and 1 or 0)
  slow = (slow or 0) + (status == 429 and 1 or 0)
  others = (others or 0) + ((status ~= 200 and status ~= 429) and 1 or 0)
end
function done(summary, latency)
  local sums = { ok = 0, slow = 0, others = 0 }
  for _, thread in ipairs(threads) do
    for name in pairs(sums) do sums[name] = sums[name] + (thread:get(name) or 0) end
  end
  io.write(string.format("counts %d %d %d p99 %d\n", sums.ok, sums.slow, sums.others, latency:percentile(99)))
end
