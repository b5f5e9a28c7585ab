-- A list of 100 secrets with their payloads: 100 entries of the audit log.
local path = "/v1/apps/secrets?limit=100&scope[type]=account&expand[]=data.payload"
local headers = { ["Authorization"] = "Bearer " .. os.getenv("key") }
request = function() return wrk.format("GET", path, headers) end
