-- set of a 200-byte payload over 1,000 names in 500 user scopes, each request with a fresh idempotency key.
local payload = string.rep("p", 200)
local headers = {
  ["Authorization"] = "Bearer " .. os.getenv("key"),
  ["Content-Type"] = "application/x-www-form-urlencoded",
}
local run = os.getenv("run") or os.time()
local n = 0
request = function()
  n = n + 1
  local i = n % 1000
  headers["Idempotency-Key"] = run .. "-" .. n
  local form = "name=name-%d&scope[type]=user&scope[user]=usr_%d&payload=%s"
  return wrk.format("POST", "/v1/apps/secrets", headers, string.format(form, i, i % 500, payload))
end
