-- Asks Foregate about the request at hand, for config/haproxy.cfg. Needs HAProxy 2.6 or later and nothing else.
--
-- 200 sets txn.foregate_user, _email, _name and _groups, empty where there is no identity, and then
-- txn.foregate_allowed. Every other answer is the client's, and ends the request here. When Foregate can't be reached
-- nothing is set, and the configuration refuses.

local FIELDS = { user = "remote-user", email = "remote-email", name = "remote-name", groups = "remote-groups" }

-- What of the client's headers decides: who it is, and how it wants to be told.
local PASSED = {
    "accept", "authorization", "cookie", "origin", "sec-fetch-dest", "sec-fetch-mode", "sec-fetch-site",
    "x-requested-with",
}

-- Of Foregate's answer, what HAProxy writes by itself.
local FRAMING = { connection = true, ["content-length"] = true, ["keep-alive"] = true, ["transfer-encoding"] = true }

core.register_action("foregate", { "http-req" }, function(txn, url)
    local sent = txn.http:req_get_headers()
    local headers = {}
    for _, name in ipairs(PASSED) do
        local values = {}
        if sent[name] then
            for _, value in pairs(sent[name]) do
                values[#values + 1] = value
            end
            headers[name] = values
        end
    end
    headers["x-forwarded-method"] = { txn.f:method() }
    headers["x-forwarded-proto"] = { txn.f:ssl_fc() == 1 and "https" or "http" }
    headers["x-forwarded-host"] = { txn.f:req_fhdr("host") }
    -- The very bytes that the application will get, before any normalising.
    headers["x-forwarded-uri"] = { txn.f:pathq() }
    headers["x-forwarded-for"] = { txn.f:src() }

    local answer = core.httpclient():get({ url = url, headers = headers, timeout = 3000 })
    if not answer or not answer.status or answer.status == 0 then
        return
    end
    if answer.status ~= 200 then
        local reply = txn:reply({ status = answer.status })
        for name, values in pairs(answer.headers or {}) do
            for _, value in pairs(values) do
                if not FRAMING[name] then
                    reply:add_header(name, value)
                end
            end
        end
        reply:set_body(answer.body or "")
        txn:done(reply)
        return
    end
    for variable, name in pairs(FIELDS) do
        local values = answer.headers and answer.headers[name]
        txn:set_var("txn.foregate_" .. variable, values and values[0] or "")
    end
    -- Last, so that a failure on the way here is no pass.
    txn:set_var("txn.foregate_allowed", true)
end, 1)
