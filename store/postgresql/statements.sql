-- The statements. A name stands before each: enum pg_statement has it, with PG_ before it, and they
-- are prepared in this order. Parameters and results are binary: bigint, boolean, bytea, text.
--
-- Most are about one row or one user's rows, so that Citus can distribute the tables. Citus also runs
-- the purges, the checks and READ_USERS, as they lock nothing before they write. LOCK_USERS,
-- LOCK_TOKENS, USE_USERS and USE_TOKENS are only for servers without Citus: one statement for all
-- tokens of a group costs a third of one for each token.
--
-- SELECT * is of the columns of schema.sql in their order; what a newer version has added comes behind
-- them and is not looked at. (SELECT … now()) is evaluated once, not for each row.

-- What readers need.

-- READ_KEY
SELECT * FROM keys WHERE hash = $1;
-- READ_FOREIGN_KEYS
SELECT foreign_keys::int::bigint FROM meta;
-- READ_NAME
SELECT * FROM user_names WHERE name = $1;
-- READ_ACCESS
SELECT * FROM access_hashes WHERE hash = $1;
-- READ_USER
SELECT * FROM users WHERE user_id = $1;
-- READ_NEXT_USER
SELECT * FROM users WHERE user_id > $1 AND NOT deleted ORDER BY user_id LIMIT 1;
-- READ_USERS_PAGE
-- Keyword, the id that it may be, group, offset, limit; the keyword as in SEARCH.
WITH found AS (
    SELECT u.*
    FROM users u, (SELECT lower(replace(replace($1::text, '\', '\\'), '_', '\_') COLLATE "C")) p (part)
    WHERE NOT deleted
        AND (part IS NULL OR user_id = $2::bigint OR lower(name) LIKE
            CASE WHEN strpos(part, '%') > 0 THEN part ELSE '%' || part || '%' END)
        AND ($3::text IS NULL OR group_name = $3))
SELECT (SELECT count(*) FROM found), page.*
FROM (SELECT) one LEFT JOIN (
    SELECT * FROM found ORDER BY user_id DESC LIMIT $5 OFFSET $4) page ON true
ORDER BY user_id DESC;
-- READ_TOKEN
-- Behind the owner's group: it is shown where the token's is ''.
SELECT (SELECT group_name FROM users WHERE user_id = $1), t.*
FROM tokens t WHERE user_id = $1 AND id = $2;
-- READ_OWNER_AND_TOKEN
-- The time, and the right to the token's group: whether groups are checked, its ratio, whether the
-- owner may use it.
SELECT (extract(epoch FROM now()) * 1000000000)::bigint,
    (SELECT (groups_checked AND EXISTS (SELECT FROM groups))::int::bigint FROM meta), ratio_millionths,
    (t.group_name IN ('', u.group_name) OR is_public OR EXISTS (
        SELECT FROM grants r
        WHERE g.name IS NOT NULL AND r.user_id = $1 AND r.group_name = t.group_name))::int::bigint,
    u.*, t.*
FROM users u JOIN tokens t ON t.user_id = u.user_id AND t.id = $2
    LEFT JOIN groups g ON g.name = coalesce(nullif(t.group_name, ''), u.group_name)
WHERE u.user_id = $1 AND NOT deleted;
-- READ_PAGE
SELECT token_count, u.group_name, t.*
FROM users u LEFT JOIN (
    SELECT * FROM tokens
    WHERE user_id = $1 AND id <= (
        SELECT id FROM tokens WHERE user_id = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)
    ORDER BY id DESC LIMIT $3) t ON true
WHERE u.user_id = $1 ORDER BY t.id DESC;
-- READ_GATEWAYS
SELECT * FROM gateways WHERE id > $1 ORDER BY id;
-- READ_WRITABLE
-- A standby is read-only too.
SELECT (current_setting('transaction_read_only') = 'off')::int::bigint FROM meta;
-- READ_FIGURES
SELECT count(*), coalesce(sum(token_count), 0)::bigint, pg_database_size(current_database())
FROM users;
-- SEARCH
-- User, time, keyword, group, status, offset, limit, name of the field that is sorted by, 1: from the
-- least on, -1: from the greatest; the days on which the present periods of refills began: days, weeks,
-- months by the day that they begin on. A token's quota is that of token_refill. A % in the keyword stands for any text (match_name), without one
-- it is a part of the name. With COLLATE "C" lower() changes ASCII letters only. The status is that
-- of token_status_at. Never expiring is last.
WITH found AS (
    SELECT t.*, $9::bigint * CASE $8::text
            WHEN 'remain_quota' THEN remains WHEN 'used_quota' THEN used_quota
            WHEN 'created_time' THEN created_unix_s WHEN 'accessed_time' THEN accessed_unix_s
            WHEN 'expired_time' THEN coalesce(nullif(expired_unix_s, -1), 9223372036854775807)
            ELSE 0 END AS number,
        CASE $8 WHEN 'name' THEN name WHEN 'group' THEN shown
            WHEN 'model_limits' THEN model_limits WHEN 'allow_ips' THEN allow_ips END AS word
    FROM tokens t, (SELECT lower(replace(replace($3::text, '\', '\\'), '_', '\_') COLLATE "C")) p (part),
        LATERAL (SELECT CASE WHEN ($10::text::bigint[])[CASE refill_interval
                WHEN 3 THEN 2 + refill_day ELSE refill_interval END] > refill_period
            THEN refill_amount ELSE remain_quota END) r (remains),
        LATERAL (SELECT coalesce(nullif(group_name, ''),
            (SELECT group_name FROM users WHERE user_id = $1))) s (shown)
    WHERE user_id = $1
        AND (part IS NULL OR lower(name) LIKE
            CASE WHEN strpos(part, '%') > 0 THEN part ELSE '%' || part || '%' END)
        AND ($4::text IS NULL OR shown = $4)
        AND ($5::bigint = 0 OR $5 = CASE WHEN status = 2 THEN 2
            WHEN expired_unix_s <> -1 AND expired_unix_s <= $2::bigint THEN 3
            WHEN NOT unlimited_quota AND remains = 0 THEN 4 ELSE 1 END))
SELECT (SELECT count(*) FROM found), (SELECT group_name FROM users WHERE user_id = $1), page.*
FROM (SELECT) one LEFT JOIN (
    SELECT * FROM found
    ORDER BY number, CASE WHEN $9 > 0 THEN word END, CASE WHEN $9 < 0 THEN word END DESC, $9 * id
    LIMIT $7 OFFSET $6) page ON true
ORDER BY number, CASE WHEN $9 > 0 THEN word END, CASE WHEN $9 < 0 THEN word END DESC, $9 * id;

-- Groups, models, usage, audit records.

-- READ_GROUPS
-- Whether they are checked, whether there is such a user; all of them, or those that a user may use.
SELECT (SELECT (groups_checked AND EXISTS (SELECT FROM groups))::int::bigint FROM meta),
    is_user::int::bigint, g.*
FROM (SELECT $1::bigint = 0 OR EXISTS (
        SELECT FROM users WHERE user_id = $1 AND NOT deleted)) one (is_user)
    LEFT JOIN groups g ON is_user AND ($1 = 0 OR is_public
        OR name = (SELECT group_name FROM users WHERE user_id = $1)
        OR name IN (SELECT group_name FROM grants WHERE user_id = $1))
ORDER BY name;
-- LIST_GRANTS
SELECT * FROM grants WHERE $1::bigint = 0 OR user_id = $1 ORDER BY user_id, group_name;
-- READ_MODELS
SELECT * FROM models ORDER BY name;
-- READ_USAGE
-- Where the clock was set back, the day of a row may be another row too.
WITH own AS (
    SELECT usage_day AS day, usage_units AS units, usage_requests AS requests
    FROM users WHERE user_id = $1 AND $2::bigint = 0 AND NOT deleted
    UNION ALL SELECT t.usage_day, t.usage_units, t.usage_requests
    FROM tokens t JOIN users u ON u.user_id = t.user_id
    WHERE t.user_id = $1 AND id = $2 AND NOT deleted)
SELECT day, sum(units)::bigint, sum(requests)::bigint
FROM (SELECT * FROM own
    UNION ALL SELECT day, units, requests FROM usage
    WHERE user_id = $1 AND token_id = $2 AND day >= $3 AND EXISTS (SELECT FROM own)) d
GROUP BY day ORDER BY day;
-- READ_AUDIT
-- Id that is before, limit, token, action, beginning of it, actor's kind, its id, time.
SELECT * FROM audit
WHERE id < $1 AND ($3::bigint = 0 OR token_id = $3) AND ($4::text IS NULL OR action = $4)
    AND ($5::text IS NULL OR starts_with(action, $5)) AND ($6::bigint = 0 OR actor_kind = $6)
    AND ($7::bigint = 0 OR actor_id = $7) AND time_unix_s >= $8
ORDER BY id DESC LIMIT $2;
-- READ_AUDIT_OF
-- The same, and a user.
SELECT * FROM audit
WHERE id < $1 AND ($3::bigint = 0 OR token_id = $3) AND ($4::text IS NULL OR action = $4)
    AND ($5::text IS NULL OR starts_with(action, $5)) AND ($6::bigint = 0 OR actor_kind = $6)
    AND ($7::bigint = 0 OR actor_id = $7) AND time_unix_s >= $8 AND user_id = $9
ORDER BY id DESC LIMIT $2;

-- tokenctl check: what the server compares, kind and id of what has a problem, and the problem; then
-- what is sealed.

-- BEGIN_SNAPSHOT
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
-- CHECK_TABLES
-- A copy of each table's columns: Citus joins tables that are distributed by different columns only so.
WITH users AS MATERIALIZED (
    SELECT user_id, name, deleted, access_hash, token_count, role, quota, used_quota,
        deleted_used_quota, request_count, usage_day, usage_units, usage_requests, dated_units FROM users),
user_names AS MATERIALIZED (SELECT name, user_id FROM user_names),
access_hashes AS MATERIALIZED (SELECT hash, user_id FROM access_hashes),
tokens AS MATERIALIZED (
    SELECT user_id, id, used_quota, key_hash, old_key_hash, has_old_key, usage_day, usage_units,
        usage_requests, dated_units FROM tokens),
keys AS MATERIALIZED (SELECT hash, user_id, token_id FROM keys),
gateways AS MATERIALIZED (SELECT id FROM gateways),
reservations AS MATERIALIZED (
    SELECT user_id, token_id, id, reserved, amount, shortfall, ended FROM reservations),
groups AS MATERIALIZED (SELECT name, ratio_millionths FROM groups),
grants AS MATERIALIZED (SELECT user_id, group_name FROM grants),
dated AS MATERIALIZED (
    SELECT user_id, token_id, sum(units) AS units FROM usage GROUP BY user_id, token_id)
SELECT 'user', user_id, 'is not found by its name'
FROM users u WHERE NOT deleted AND NOT EXISTS (
    SELECT FROM user_names n WHERE n.name = lower(u.name) AND n.user_id = u.user_id)
UNION ALL SELECT 'user', user_id, 'has a name but does not exist'
FROM user_names n WHERE NOT EXISTS (
    SELECT FROM users u WHERE u.user_id = n.user_id AND NOT deleted)
UNION ALL SELECT 'user', coalesce(u.user_id, a.user_id), 'is not found by its access token'
FROM (SELECT user_id, access_hash FROM users
        WHERE NOT deleted AND access_hash <> decode(repeat('00', 32), 'hex')) u
    FULL JOIN access_hashes a USING (user_id)
WHERE hash IS DISTINCT FROM substring(access_hash FOR 16)
UNION ALL SELECT 'user', user_id, 'its role is none of 1, 10 and 100'
FROM users WHERE role NOT IN (1, 10, 100)
UNION ALL SELECT 'user', user_id, 'a quota or count of it is below 0'
FROM users WHERE least(quota, used_quota, deleted_used_quota, request_count) < 0
UNION ALL SELECT 'user', user_id, 'its used_quota is not the sum of its tokens'''
FROM users LEFT JOIN (SELECT user_id, sum(used_quota) AS used FROM tokens GROUP BY user_id) t
    USING (user_id)
WHERE used_quota <> least(coalesce(used, 0) + deleted_used_quota, 9223372036854775807)
UNION ALL SELECT 'user', user_id, 'its usage by day is not the sum of the days'
FROM users LEFT JOIN (SELECT * FROM dated WHERE token_id = 0) d USING (user_id)
WHERE dated_units <> usage_units + coalesce(units, 0)
UNION ALL SELECT 'user', user_id, 'its usage does not agree with what it has used'
FROM users WHERE least(usage_day, usage_units, usage_requests) < 0
    OR dated_units NOT BETWEEN usage_units AND used_quota
UNION ALL SELECT 'user', user_id, 'does not exist, but has usage'
FROM dated d WHERE token_id = 0 AND NOT EXISTS (SELECT FROM users u WHERE u.user_id = d.user_id)
UNION ALL SELECT 'user', user_id, 'does not exist, but was granted a group'
FROM grants g WHERE NOT EXISTS (SELECT FROM users u WHERE u.user_id = g.user_id)
UNION ALL SELECT 'user', user_id, 'was granted a group that does not exist'
FROM grants WHERE NOT EXISTS (SELECT FROM groups g WHERE g.name = group_name)
UNION ALL SELECT 'user', user_id, 'is above the last id, but has audit records'
FROM audit WHERE user_id > (SELECT last_value FROM user_ids)
UNION ALL SELECT 'groups', count(*), 'without a name, or with a ratio below 0'
FROM groups WHERE name = '' OR ratio_millionths < 0 HAVING count(*) > 0
UNION ALL SELECT 'user', user_id, 'the count of its tokens is another'
FROM users LEFT JOIN (SELECT user_id, count(*) AS count FROM tokens GROUP BY user_id) t
    USING (user_id)
WHERE token_count <> coalesce(count, 0)
UNION ALL SELECT 'user', user_id, 'is above the last id'
FROM users WHERE user_id > (SELECT last_value FROM user_ids)
UNION ALL SELECT 'token', id, 'is above the last id'
FROM tokens WHERE id > (SELECT last_value FROM token_ids)
UNION ALL SELECT 'gateway', id, 'is above the last id'
FROM gateways WHERE id > (SELECT last_value FROM gateway_ids)
UNION ALL SELECT 'token', id, 'exists twice'
FROM tokens GROUP BY id HAVING count(*) > 1
UNION ALL SELECT 'token', id, 'its user does not exist'
FROM tokens t WHERE NOT EXISTS (SELECT FROM users u WHERE u.user_id = t.user_id)
UNION ALL SELECT 'token', id, 'its used_quota is below 0'
FROM tokens WHERE used_quota < 0
UNION ALL SELECT 'token', id, 'its usage by day is not the sum of the days'
FROM tokens LEFT JOIN (SELECT user_id, token_id AS id, units FROM dated WHERE token_id <> 0) d
    USING (user_id, id)
WHERE dated_units <> usage_units + coalesce(units, 0)
UNION ALL SELECT 'token', id, 'its usage does not agree with what it has used'
FROM tokens WHERE least(usage_day, usage_units, usage_requests) < 0
    OR dated_units NOT BETWEEN usage_units AND used_quota
UNION ALL SELECT 'token', token_id, 'does not exist, but has usage'
FROM dated d WHERE token_id <> 0 AND NOT EXISTS (
    SELECT FROM tokens t WHERE t.user_id = d.user_id AND t.id = d.token_id)
UNION ALL SELECT 'token', id, 'is not found by its key'
FROM tokens t LEFT JOIN keys k ON hash = key_hash
WHERE (k.user_id = t.user_id AND token_id = id) IS NOT TRUE
UNION ALL SELECT 'token', id, 'is not found by its old key'
FROM tokens t LEFT JOIN keys k ON hash = old_key_hash
WHERE has_old_key AND (k.user_id = t.user_id AND token_id = id) IS NOT TRUE
UNION ALL SELECT 'token', token_id, 'has not the key that leads to it'
FROM keys k LEFT JOIN tokens t ON t.user_id = k.user_id AND id = token_id
WHERE (hash = key_hash OR has_old_key AND hash = old_key_hash) IS NOT TRUE
UNION ALL SELECT 'reservation', id, 'has an amount below 0'
FROM reservations WHERE least(reserved, amount, shortfall) < 0
UNION ALL SELECT 'token', t.id, 'its reservations took more than it has used'
FROM tokens t JOIN (
    SELECT user_id, token_id, sum(CASE WHEN ended THEN amount ELSE reserved END) AS taken
    FROM reservations GROUP BY user_id, token_id) r
    ON r.user_id = t.user_id AND token_id = t.id
WHERE taken > used_quota;
-- CHECK_TOKENS
SELECT * FROM tokens;
-- CHECK_ANSWERS
SELECT * FROM idempotency;
-- EXPORT_IDS
SELECT floor(extract(epoch FROM now()))::bigint, u.last_value + u.is_called::int,
    t.last_value + t.is_called::int, g.last_value + g.is_called::int, 1::bigint,
    m.foreign_keys::int::bigint, m.groups_checked::int::bigint
FROM meta m, user_ids u, token_ids t, gateway_ids g;
-- EXPORT_GATEWAYS
SELECT * FROM gateways ORDER BY id;
-- EXPORT_USERS
SELECT u.*, t.* FROM users u LEFT JOIN tokens t ON t.user_id = u.user_id
WHERE NOT deleted ORDER BY u.user_id, t.id;
-- EXPORT_RESERVATIONS
SELECT r.* FROM reservations r JOIN users u ON u.user_id = r.user_id
WHERE NOT ended AND NOT deleted AND due_s > (SELECT floor(extract(epoch FROM now()))::bigint)
ORDER BY r.id;
-- EXPORT_GROUPS
SELECT * FROM groups ORDER BY name;
-- EXPORT_GRANTS
SELECT g.* FROM grants g JOIN users u ON u.user_id = g.user_id WHERE NOT deleted
ORDER BY g.user_id, g.group_name;
-- EXPORT_MODELS
SELECT * FROM models ORDER BY name;
-- EXPORT_USAGE
SELECT d.* FROM usage d JOIN users u ON u.user_id = d.user_id WHERE NOT deleted
ORDER BY d.user_id, d.token_id, d.day;
-- EXPORT_AUDIT
SELECT * FROM audit ORDER BY id;

-- READ_ROTATION
SELECT secret_generation, secret_phase, secret_check, next_secret_check FROM meta;
-- LIST_TOKENS
SELECT user_id, id FROM tokens WHERE (user_id, id) > ($1, $2) ORDER BY user_id, id LIMIT $3;
-- LIST_ANSWERS
SELECT hash FROM idempotency WHERE hash > $1 ORDER BY hash LIMIT $2;
-- READ_LAGGARDS
-- Workers that have another next secret or opened the store before a generation; 10: LIVE_S.
SELECT machine, pid, (secret_generation >= $1)::int::bigint, next_secret_check
FROM workers WHERE at > now() - interval '10 s'
    AND (secret_generation < $1 OR next_secret_check <> $2);

-- A group of writes: its first round trip.

-- BEGIN
BEGIN ISOLATION LEVEL READ COMMITTED;
-- PUT_COMMIT
INSERT INTO commits (id, attempt) VALUES ($1, $2)
ON CONFLICT (id) DO UPDATE SET repeats = commits.repeats + 1 RETURNING attempt;
-- READ_USERS
SELECT * FROM users WHERE user_id = ANY($1::bigint[]);
-- READ_META
SELECT lowest_writer, floor(extract(epoch FROM now()))::bigint,
    (extract(epoch FROM now()) * 1000000000)::bigint, secret_generation, imports,
    (groups_checked AND EXISTS (SELECT FROM groups))::int::bigint
FROM meta;
-- READ_ALL_GROUPS
SELECT * FROM groups;
-- READ_GRANTS
SELECT * FROM grants WHERE user_id = ANY($1::bigint[]);
-- LIMIT_LOCK
SELECT set_config('lock_timeout', '500ms', true);
-- LOCK_META
-- Every group that has read the state before has ended then.
LOCK TABLE meta IN ACCESS EXCLUSIVE MODE;
-- BEAT
INSERT INTO workers VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (id) DO UPDATE SET secret_generation = $5, next_secret_check = $6, at = now()
RETURNING (SELECT secret_generation FROM meta);
-- PURGE_WORKERS
DELETE FROM workers WHERE id = $1 OR at < now() - interval '1 hour';
-- TAKE_IDS
-- A reservation's has the second in it: none comes again after a backup was put back.
SELECT nextval($1::text::regclass) + CASE $1
    WHEN 'reservation_ids' THEN (SELECT floor(extract(epoch FROM now()))::bigint << 20) ELSE 0 END
FROM generate_series(1, $2::bigint);
-- PURGE_ANSWERS
-- The time again: of a row that another transaction has just renewed only this is evaluated anew.
DELETE FROM idempotency
WHERE created_s <= (SELECT floor(extract(epoch FROM now()))::bigint) - 86400 AND hash IN (
    SELECT hash FROM idempotency
    WHERE created_s <= (SELECT floor(extract(epoch FROM now()))::bigint) - 86400
    ORDER BY created_s LIMIT $1);
-- PURGE_RESERVATIONS
DELETE FROM reservations WHERE (user_id, id) IN (
    SELECT user_id, id FROM reservations
    WHERE due_s <= (SELECT floor(extract(epoch FROM now()))::bigint) - 86400
    ORDER BY due_s LIMIT $1);
-- PURGE_COMMITS
DELETE FROM commits WHERE id IN (
    SELECT id FROM commits WHERE at < now() - interval '1 hour' ORDER BY at LIMIT $1);
-- PURGE_AUDIT_OF
-- 100000: STORE_AUDIT_PER_USER_MAX. Who has so many is met among those who have changed something last.
DELETE FROM audit WHERE (user_id, id) IN (
    SELECT a.user_id, a.id
    FROM (SELECT DISTINCT user_id FROM (SELECT user_id FROM audit ORDER BY id DESC LIMIT $1) l) u,
        LATERAL (SELECT user_id, id FROM audit WHERE user_id = u.user_id AND user_id <> 0
            ORDER BY id DESC LIMIT $1 OFFSET 100000) a);
-- PURGE_AUDIT
-- By days. Records that were imported later are found when those before them are gone.
DELETE FROM audit WHERE (user_id, id) IN (
    SELECT user_id, id FROM (SELECT * FROM audit ORDER BY id LIMIT $1) a
    WHERE time_unix_s < (SELECT floor(extract(epoch FROM now()))::bigint) - $2::bigint * 86400);
-- READ_FOUND
SELECT id, user_id, token_id FROM reservations WHERE id = $1;

-- What is locked stays as it was read.

-- LOCK_USER
SELECT * FROM users WHERE user_id = $1 FOR UPDATE;
-- LOCK_USERS
-- Several, in the order of the array.
SELECT u.*
FROM unnest($1::bigint[]) k (user_id),
    LATERAL (SELECT * FROM users WHERE user_id = k.user_id FOR UPDATE) u;
-- LOCK_TOKEN
SELECT * FROM tokens WHERE user_id = $1 AND id = $2 FOR UPDATE;
-- LOCK_TOKENS
-- Several, in the order of the arrays.
SELECT t.*
FROM unnest($1::bigint[], $2::bigint[]) k (user_id, id),
    LATERAL (SELECT * FROM tokens WHERE user_id = k.user_id AND id = k.id FOR UPDATE) t;
-- LOCK_TOKENS_OF
SELECT * FROM tokens WHERE user_id = $1 ORDER BY id LIMIT $2 FOR UPDATE;
-- LOCK_RESERVATION
SELECT * FROM reservations WHERE user_id = $1 AND id = $2 FOR UPDATE;
-- LOCK_ANSWER
SELECT * FROM idempotency WHERE hash = $1 FOR UPDATE;
-- LOCK_NAME
SELECT * FROM user_names WHERE name = $1 FOR UPDATE;
-- LOCK_GATEWAY
SELECT * FROM gateways WHERE id = $1 FOR UPDATE;
-- READ_KEPT
-- Count, bytes and oldest of what has not expired, count of all. 28: SEAL_OVERHEAD_LEN.
SELECT $1::bigint, count(*) FILTER (WHERE kept),
    coalesce(sum(octet_length(sealed) - 28) FILTER (WHERE kept), 0)::bigint,
    coalesce(min(created_s) FILTER (WHERE kept), 0), count(*)
FROM (SELECT *, created_s > (SELECT floor(extract(epoch FROM now()))::bigint) - 86400 AS kept
    FROM idempotency WHERE user_id = $1) a;
-- READ_PLACES
-- 10000: STORE_RESERVATIONS_MAX; from there on, how many of the oldest can be dropped.
SELECT $1::bigint, n, ended, due_s
FROM (SELECT count(*) AS n FROM reservations WHERE user_id = $1) a, LATERAL (
    SELECT count(*) FILTER (WHERE ended
            OR due_s <= (SELECT floor(extract(epoch FROM now()))::bigint)) AS ended,
        coalesce(min(due_s), 0) AS due_s
    FROM (SELECT ended, due_s FROM reservations
        WHERE user_id = $1 AND n >= 10000 ORDER BY id LIMIT 1000) b) c;
-- READ_OPEN
-- Of a token, what is open, and when the first is due.
SELECT $1::bigint, $2::bigint, count(*), coalesce(min(due_s), 0) FROM reservations
WHERE user_id = $1 AND token_id = $2 AND NOT ended
    AND due_s > (SELECT floor(extract(epoch FROM now()))::bigint);

-- Its last round trip: what has changed. UPDATE_ sets all columns, USE_ those that uses change.

-- PUT_ROTATION
UPDATE meta SET secret_generation = $1, secret_phase = $2, secret_check = $3, next_secret_check = $4;

-- INSERT_KEY
INSERT INTO keys VALUES ($1, $2, $3);
-- DELETE_KEY
DELETE FROM keys WHERE hash = $1;
-- INSERT_USER
INSERT INTO users VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
    $18, $19, $20, $21, $22, $23);
-- UPDATE_USER
UPDATE users SET token_count = $2, name = $3, group_name = $4, disabled = $5, deleted = $6,
    created_unix_s = $7, access_hash = $8, role = $9, quota = $10, unlimited_quota = $11,
    deleted_used_quota = $12, request_count = $13, used_quota = $14, rpm_limit = $15, tpm_limit = $16,
    max_tokens = $17, requests_full_ns = $18, units_full_ns = $19, usage_day = $20, usage_units = $21,
    usage_requests = $22, dated_units = $23
WHERE user_id = $1;
-- USE_USER
UPDATE users SET token_count = $2, quota = $3, request_count = $4, used_quota = $5,
    requests_full_ns = $6, units_full_ns = $7, usage_day = $8, usage_units = $9, usage_requests = $10,
    dated_units = $11
WHERE user_id = $1;
-- USE_USERS
UPDATE users t SET token_count = u.token_count, quota = u.quota, request_count = u.request_count,
    used_quota = u.used_quota, requests_full_ns = u.requests_full_ns, units_full_ns = u.units_full_ns,
    usage_day = u.usage_day, usage_units = u.usage_units, usage_requests = u.usage_requests,
    dated_units = u.dated_units
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
    $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[])
    u (user_id, token_count, quota, request_count, used_quota, requests_full_ns, units_full_ns,
        usage_day, usage_units, usage_requests, dated_units)
WHERE t.user_id = u.user_id;
-- DELETE_USER
DELETE FROM users WHERE user_id = $1;
-- INSERT_TOKEN
INSERT INTO tokens VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
    $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34);
-- UPDATE_TOKEN
UPDATE tokens SET remain_quota = $3, used_quota = $4, accessed_unix_s = $5, name = $6, group_name = $7,
    model_limits = $8, allow_ips = $9, status = $10, unlimited_quota = $11, model_limits_enabled = $12,
    expired_unix_s = $13, created_unix_s = $14, sealed_key = $15, key_hash = $16, has_old_key = $17,
    old_key_hash = $18, old_key_until_unix_s = $19, sealed_old_key = $20, rpm_limit = $21,
    tpm_limit = $22, max_parallel_requests = $23, refill_amount = $24, refill_interval = $25,
    refill_day = $26, refill_period = $27, requests_full_ns = $28, units_full_ns = $29, usage_day = $30,
    usage_units = $31, usage_requests = $32, dated_units = $33, group_is_old = $34
WHERE user_id = $1 AND id = $2;
-- USE_TOKEN
UPDATE tokens SET remain_quota = $3, used_quota = $4, accessed_unix_s = $5, refill_period = $6,
    requests_full_ns = $7, units_full_ns = $8, usage_day = $9, usage_units = $10, usage_requests = $11,
    dated_units = $12
WHERE user_id = $1 AND id = $2;
-- USE_TOKENS
UPDATE tokens t SET remain_quota = u.remain_quota, used_quota = u.used_quota,
    accessed_unix_s = u.accessed_unix_s, refill_period = u.refill_period,
    requests_full_ns = u.requests_full_ns, units_full_ns = u.units_full_ns, usage_day = u.usage_day,
    usage_units = u.usage_units, usage_requests = u.usage_requests, dated_units = u.dated_units
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
    $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[])
    u (user_id, id, remain_quota, used_quota, accessed_unix_s, refill_period, requests_full_ns,
        units_full_ns, usage_day, usage_units, usage_requests, dated_units)
WHERE t.user_id = u.user_id AND t.id = u.id;
-- DELETE_TOKEN
DELETE FROM tokens WHERE user_id = $1 AND id = $2;
-- INSERT_RESERVATION
INSERT INTO reservations VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
    $17);
-- UPDATE_RESERVATION
UPDATE reservations SET token_id = $3, gateway_id = $4, reserved = $5, from_remain = $6, amount = $7,
    shortfall = $8, created_s = $9, due_s = $10, ended = $11, remain_quota = $12, unlimited_quota = $13,
    group_name = $14, from_balance = $15, day = $16, refill_period = $17
WHERE user_id = $1 AND id = $2;
-- DROP_RESERVATION
DELETE FROM reservations WHERE user_id = $1 AND id = (
    SELECT id FROM reservations WHERE user_id = $1
    AND (ended OR due_s <= (SELECT floor(extract(epoch FROM now()))::bigint))
    ORDER BY id LIMIT 1);
-- INSERT_ANSWER
INSERT INTO idempotency VALUES ($1, $2, $3, $4, $5);
-- UPDATE_ANSWER
UPDATE idempotency SET user_id = $2, created_s = $3, request_hash = $4, sealed = $5
WHERE hash = $1;
-- DELETE_ANSWER
DELETE FROM idempotency WHERE hash = $1;
-- FORGET
DELETE FROM idempotency WHERE hash IN (
    SELECT hash FROM idempotency WHERE user_id = $1 LIMIT $2);
-- INSERT_NAME
INSERT INTO user_names VALUES ($1, $2);
-- UPDATE_NAME
UPDATE user_names SET user_id = $2 WHERE name = $1;
-- DELETE_NAME
DELETE FROM user_names WHERE name = $1;
-- INSERT_ACCESS
INSERT INTO access_hashes VALUES ($1, $2);
-- UPDATE_ACCESS
UPDATE access_hashes SET user_id = $2 WHERE hash = $1;
-- DELETE_ACCESS
DELETE FROM access_hashes WHERE hash = $1;
-- INSERT_GATEWAY
INSERT INTO gateways VALUES ($1, $2, $3, $4);
-- DELETE_GATEWAY
DELETE FROM gateways WHERE id = $1;
-- FOLLOW_OWNER
UPDATE tokens SET group_name = '' WHERE user_id = $1 AND group_is_old AND group_name = $2;
-- CHECK_GROUPS
UPDATE meta SET groups_checked = $1::bigint <> 0;
-- PUT_GROUP
INSERT INTO groups VALUES ($1, $2, $3, $4)
ON CONFLICT (name) DO UPDATE SET description = $2, is_public = $3, ratio_millionths = $4;
-- DELETE_GROUP
DELETE FROM groups WHERE name = $1;
-- DELETE_GRANTS
DELETE FROM grants WHERE group_name = $1;
-- PUT_GRANT
INSERT INTO grants VALUES ($1, $2) ON CONFLICT DO NOTHING;
-- DELETE_GRANT
DELETE FROM grants WHERE user_id = $1 AND group_name = $2;
-- DELETE_GRANTS_OF
DELETE FROM grants WHERE user_id = $1;
-- PUT_MODEL
INSERT INTO models VALUES ($1) ON CONFLICT DO NOTHING;
-- DELETE_MODEL
DELETE FROM models WHERE name = $1;
-- ADD_USAGE
INSERT INTO usage VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (user_id, token_id, day)
DO UPDATE SET units = usage.units + excluded.units, requests = usage.requests + excluded.requests;
-- FOLD_USAGE
WITH folded AS (
    DELETE FROM usage WHERE user_id = $1 AND token_id = $2 AND day > 0 AND day < $3
    RETURNING units, requests)
INSERT INTO usage SELECT $1::bigint, $2::bigint, 0, sum(units), sum(requests) FROM folded HAVING count(*) > 0
ON CONFLICT (user_id, token_id, day)
DO UPDATE SET units = usage.units + excluded.units, requests = usage.requests + excluded.requests;
-- DELETE_USAGE
DELETE FROM usage WHERE user_id = $1 AND token_id = $2;
-- DELETE_USAGE_OF
DELETE FROM usage WHERE user_id = $1;
-- ADD_AUDIT
-- The id has the seconds since 2026 in it, as those of the other engine.
INSERT INTO audit VALUES ($1, ((floor(extract(epoch FROM now()))::bigint - 1767225600) << 20)
    + nextval('audit_ids'), $2, $3, $4, $5, $6, $7, $8, $9);
-- IMPORT_AUDIT
INSERT INTO audit VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING;
-- RAISE_IDS
SELECT setval('user_ids', greatest($1::bigint, u.last_value + u.is_called::int), false),
    setval('token_ids', greatest($2::bigint, t.last_value + t.is_called::int), false),
    setval('gateway_ids', greatest($3::bigint, g.last_value + g.is_called::int), false)
FROM user_ids u, token_ids t, gateway_ids g;
-- NOTE_FOREIGN_KEYS
UPDATE meta SET foreign_keys = true WHERE NOT foreign_keys;
-- COMMIT
COMMIT;
-- ROLLBACK
ROLLBACK;
