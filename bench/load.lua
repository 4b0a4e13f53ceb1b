-- The requests of bench/run.py, for wrk. Arguments after "--":
--   KIND USERS_FILE USERS PASSES CHUNK STRIDE FIRST_ID QUERY STATUS
-- KIND: get, list, put, post: the same bytes each time; random (get over all users), mixed (80 %
-- get, 15 % list, 5 % writes); verify (the keys in turn), malformed (the same with a wrong last
-- character). USERS_FILE, the file of keys beside it and the numbers are what bench/load wrote
-- and printed. STATUS: what each answer must have; without it anything below 400, which
-- wrk sees by itself. (To look at the status costs wrk a call into Lua an answer.)

local body = '{"name":"bench-000001","remain_quota":500000,"model_limits_enabled":true,' ..
    '"model_limits":"gpt-4o,claude-3-5-sonnet","allow_ips":"203.0.113.7"}'
local users = {}
local passes, chunk, stride, first_id

local function build(method, user, path, content)
    local text = method .. " /api/token/" .. path .. " HTTP/1.1\r\nHost: 127.0.0.1\r\n" .. user.head
    if content then
        text = text .. "Content-Type: application/json\r\nContent-Length: " .. #content .. "\r\n"
    end
    return text .. "\r\n" .. (content or "")
end

local function random_user()
    return users[math.random(#users)]
end

local function random_id(user)
    return first_id + math.random(0, passes - 1) * stride + user.number * chunk + math.random(0, chunk - 1)
end

local function status(user, id, value)
    return build("PUT", user, "?status_only=true", '{"id":' .. id .. ',"status":' .. value .. '}')
end

-- Each of the file's keys once, and then again.
local function key_requests(file, query, malformed)
    local texts, last = {}, 0
    for key in io.lines(file) do
        if malformed then key = key:sub(1, -2) .. (key:sub(-1) == "0" and "1" or "0") end
        texts[#texts + 1] = build("GET", {head = "Authorization: Bearer " .. key .. "\r\n"},
            "verify" .. query)
    end
    return function()
        last = last % #texts + 1
        return texts[last]
    end
end

local threads = {}
function setup(thread)
    thread:set("thread_number", #threads)
    threads[#threads + 1] = thread
end

-- wrk calls a global of this name, where there is one.
local function expect(wanted)
    wrong_statuses = 0
    response = function(status)
        if status ~= wanted then wrong_statuses = wrong_statuses + 1 end
    end
end

function init(args)
    local kind, file, query, status_wanted = args[1], args[2], args[8] or "", tonumber(args[9])
    if status_wanted then expect(status_wanted) end
    passes, chunk, stride, first_id =
        tonumber(args[4]), tonumber(args[5]), tonumber(args[6]), tonumber(args[7])
    local wanted = (kind == "random" or kind == "mixed") and math.huge or 1
    for line in io.lines(file) do
        local id, access = line:match("^(%d+) (%S+)$")
        users[#users + 1] = {number = #users,
            head = "Authorization: Bearer " .. access .. "\r\nNew-Api-User: " .. id .. "\r\n"}
        if #users >= wanted then break end
    end
    math.randomseed(os.time() * 64 + thread_number)
    local user = users[1]
    local fixed = {
        get = build("GET", user, tostring(first_id + 1)),
        list = build("GET", user, query),
        put = status(user, first_id + 1, 2),
        post = build("POST", user, "", body),
    }
    if kind == "verify" or kind == "malformed" then
        request = key_requests(file .. ".keys", query, kind == "malformed")
    elseif fixed[kind] then
        request = function() return fixed[kind] end
    elseif kind == "random" then
        request = function()
            local someone = random_user()
            return build("GET", someone, tostring(random_id(someone)))
        end
    else
        request = function()
            local someone, dice = random_user(), math.random(1000)
            if dice <= 800 then return build("GET", someone, tostring(random_id(someone))) end
            if dice <= 950 then return build("GET", someone, "?p=1&size=20") end
            if dice <= 975 then return status(someone, random_id(someone), math.random(2)) end
            return build("POST", someone, "", body)
        end
    end
end

function done(summary, latency)
    local errors, wrong = summary.errors, nil
    for _, thread in ipairs(threads) do
        local counted = thread:get("wrong_statuses")
        if counted then wrong = (wrong or 0) + counted end
    end
    io.write(string.format(
        'RESULT {"requests":%d,"seconds":%.6f,"p50_us":%d,"p99_us":%d,"p999_us":%d,"connect":%d,' ..
        '"read":%d,"write":%d,"status":%d,"timeout":%d}\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
        latency:percentile(99.9), errors.connect, errors.read, errors.write, wrong or errors.status,
        errors.timeout))
end
