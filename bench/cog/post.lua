-- What wrk sends: BODY as JSON, with ACCEPT and a bearer token where they are set.
wrk.method = "POST"
wrk.body = os.getenv("BODY")
wrk.headers["Content-Type"] = "application/json"
if os.getenv("ACCEPT") then wrk.headers["Accept"] = os.getenv("ACCEPT") end
if os.getenv("TOKEN") then wrk.headers["Authorization"] = "Bearer " .. os.getenv("TOKEN") end
