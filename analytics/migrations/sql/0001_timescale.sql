-- NOT EXECUTED BY THE TEST SUITE: it needs the TimescaleDB extension (2.28 or newer, PostgreSQL 16 or 17).
-- Chosen by 0001_pre_usage where the extension is installed in the database. It gives the queries the same names
-- and columns as 0001_plain.sql.
--
-- What is recorded at its own time is visible at once (real-time aggregation above the watermark). A late event
-- that falls below the watermark is visible after the next refresh of its aggregate: at most five minutes.

CREATE TABLE usage_events (
    event_id text NOT NULL,
    occurred_at timestamptz NOT NULL,
    ingested_at timestamptz NOT NULL DEFAULT now(),
    organization_id text NOT NULL,
    project_id text NOT NULL,
    key_id text NOT NULL,
    owner_kind text NOT NULL,
    owner_id text NOT NULL,
    operation text NOT NULL,
    model_id text NOT NULL,
    upstream_id text,
    stream boolean NOT NULL,
    status text NOT NULL,
    usage_source text NOT NULL,
    input_tokens bigint NOT NULL,
    cached_input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    reasoning_output_tokens bigint NOT NULL,
    requests bigint NOT NULL,
    cost_nano_usd bigint NOT NULL,
    cost_input_nano_usd bigint NOT NULL,
    cost_cached_input_nano_usd bigint NOT NULL,
    price_version text NOT NULL,
    duration_ms bigint NOT NULL,
    first_token_ms bigint,
    corrects text,
    PRIMARY KEY (event_id, occurred_at)
);

SELECT create_hypertable('usage_events', by_range('occurred_at', interval '1 day'));

CREATE MATERIALIZED VIEW usage_minute
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    time_bucket(interval '1 minute', occurred_at) AS bucket_at,
    organization_id,
    project_id,
    owner_id,
    key_id,
    model_id,
    operation,
    sum(requests)::bigint AS requests,
    sum(input_tokens)::bigint AS input_tokens,
    sum(cached_input_tokens)::bigint AS cached_input_tokens,
    sum(output_tokens)::bigint AS output_tokens,
    sum(reasoning_output_tokens)::bigint AS reasoning_output_tokens,
    sum(cost_nano_usd)::bigint AS cost_nano_usd,
    sum(cost_input_nano_usd)::bigint AS cost_input_nano_usd,
    sum(cost_cached_input_nano_usd)::bigint AS cost_cached_input_nano_usd
FROM usage_events
GROUP BY 1, organization_id, project_id, owner_id, key_id, model_id, operation
WITH NO DATA;

SELECT add_continuous_aggregate_policy('usage_minute',
    start_offset => interval '37 days', end_offset => interval '10 minutes', schedule_interval => interval '5 minutes');

CREATE MATERIALIZED VIEW usage_hour
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    time_bucket(interval '1 hour', occurred_at) AS bucket_at,
    organization_id,
    project_id,
    owner_id,
    key_id,
    model_id,
    operation,
    sum(requests)::bigint AS requests,
    sum(input_tokens)::bigint AS input_tokens,
    sum(cached_input_tokens)::bigint AS cached_input_tokens,
    sum(output_tokens)::bigint AS output_tokens,
    sum(reasoning_output_tokens)::bigint AS reasoning_output_tokens,
    sum(cost_nano_usd)::bigint AS cost_nano_usd,
    sum(cost_input_nano_usd)::bigint AS cost_input_nano_usd,
    sum(cost_cached_input_nano_usd)::bigint AS cost_cached_input_nano_usd
FROM usage_events
GROUP BY 1, organization_id, project_id, owner_id, key_id, model_id, operation
WITH NO DATA;

SELECT add_continuous_aggregate_policy('usage_hour',
    start_offset => interval '37 days', end_offset => interval '2 hours', schedule_interval => interval '5 minutes');

CREATE MATERIALIZED VIEW usage_day
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    time_bucket(interval '1 day', occurred_at) AS bucket_at,
    organization_id,
    project_id,
    owner_id,
    key_id,
    model_id,
    operation,
    sum(requests)::bigint AS requests,
    sum(input_tokens)::bigint AS input_tokens,
    sum(cached_input_tokens)::bigint AS cached_input_tokens,
    sum(output_tokens)::bigint AS output_tokens,
    sum(reasoning_output_tokens)::bigint AS reasoning_output_tokens,
    sum(cost_nano_usd)::bigint AS cost_nano_usd,
    sum(cost_input_nano_usd)::bigint AS cost_input_nano_usd,
    sum(cost_cached_input_nano_usd)::bigint AS cost_cached_input_nano_usd
FROM usage_events
GROUP BY 1, organization_id, project_id, owner_id, key_id, model_id, operation
WITH NO DATA;

SELECT add_continuous_aggregate_policy('usage_day',
    start_offset => interval '37 days', end_offset => interval '2 days', schedule_interval => interval '5 minutes');

CREATE VIEW usage_buckets AS
SELECT '1m'::text AS width, usage_minute.* FROM usage_minute
UNION ALL
SELECT '1h'::text AS width, usage_hour.* FROM usage_hour
UNION ALL
SELECT '1d'::text AS width, usage_day.* FROM usage_day;

-- Chunks make themselves.
CREATE FUNCTION ensure_usage_partitions(from_at timestamptz, until_at timestamptz) RETURNS integer
LANGUAGE sql
AS 'SELECT 0';
