-- verb: find, find-with-payload or set, over 1,000 names in 500 user scopes of 100 accounts.
local payload = string.rep("p", 200)
local verb, run = os.getenv("verb"), os.getenv("run")
local n = 0
local headers = {
  ["Authorization"] = "Bearer " .. os.getenv("key"),
  ["Content-Type"] = "application/x-www-form-urlencoded",
}
local tail = verb == "find-with-payload" and "&expand[]=payload" or ""
request = function()
  n = n + 1
  local i = n % 1000
  headers["Stripe-Account"] = "acct_" .. i % 100
  local where = string.format("name=name-%d&scope[type]=user&scope[user]=usr_%d", i, i % 500)
  if verb ~= "set" then return wrk.format("GET", "/v1/apps/secrets/find?" .. where .. tail, headers) end
  headers["Idempotency-Key"] = run .. "-" .. n
  return wrk.format("POST", "/v1/apps/secrets", headers, where .. "&payload=" .. payload)
end
