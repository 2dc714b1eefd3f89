-- All migrations together, on plain PostgreSQL. A test compares them with this file.

-- Events in partitions of one month (UTC), rollups kept by the statement that records the events.

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
) PARTITION BY RANGE (occurred_at);

CREATE TABLE usage_minute (
    bucket_at timestamptz NOT NULL,
    organization_id text NOT NULL,
    project_id text NOT NULL,
    owner_id text NOT NULL,
    key_id text NOT NULL,
    model_id text NOT NULL,
    operation text NOT NULL,
    requests bigint NOT NULL,
    input_tokens bigint NOT NULL,
    cached_input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    reasoning_output_tokens bigint NOT NULL,
    cost_nano_usd bigint NOT NULL,
    cost_input_nano_usd bigint NOT NULL,
    cost_cached_input_nano_usd bigint NOT NULL,
    PRIMARY KEY (organization_id, bucket_at, project_id, owner_id, key_id, model_id, operation)
);

CREATE TABLE usage_hour (
    bucket_at timestamptz NOT NULL,
    organization_id text NOT NULL,
    project_id text NOT NULL,
    owner_id text NOT NULL,
    key_id text NOT NULL,
    model_id text NOT NULL,
    operation text NOT NULL,
    requests bigint NOT NULL,
    input_tokens bigint NOT NULL,
    cached_input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    reasoning_output_tokens bigint NOT NULL,
    cost_nano_usd bigint NOT NULL,
    cost_input_nano_usd bigint NOT NULL,
    cost_cached_input_nano_usd bigint NOT NULL,
    PRIMARY KEY (organization_id, bucket_at, project_id, owner_id, key_id, model_id, operation)
);

CREATE TABLE usage_day (
    bucket_at timestamptz NOT NULL,
    organization_id text NOT NULL,
    project_id text NOT NULL,
    owner_id text NOT NULL,
    key_id text NOT NULL,
    model_id text NOT NULL,
    operation text NOT NULL,
    requests bigint NOT NULL,
    input_tokens bigint NOT NULL,
    cached_input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    reasoning_output_tokens bigint NOT NULL,
    cost_nano_usd bigint NOT NULL,
    cost_input_nano_usd bigint NOT NULL,
    cost_cached_input_nano_usd bigint NOT NULL,
    PRIMARY KEY (organization_id, bucket_at, project_id, owner_id, key_id, model_id, operation)
);

CREATE VIEW usage_buckets AS
SELECT '1m'::text AS width, usage_minute.* FROM usage_minute
UNION ALL
SELECT '1h'::text AS width, usage_hour.* FROM usage_hour
UNION ALL
SELECT '1d'::text AS width, usage_day.* FROM usage_day;

-- Attached rather than created in place, so that readers and writers of the table are not locked out.
CREATE FUNCTION ensure_usage_partitions(from_at timestamptz, until_at timestamptz) RETURNS integer
LANGUAGE plpgsql
AS $$
DECLARE
    month_at timestamp := date_trunc('month', from_at AT TIME ZONE 'UTC');
    partition_name text;
    created integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('ensure_usage_partitions'));
    WHILE month_at <= until_at AT TIME ZONE 'UTC' LOOP
        partition_name := 'usage_events_' || to_char(month_at, 'YYYY_MM');
        IF to_regclass(partition_name) IS NULL THEN
            EXECUTE format('CREATE TABLE %I (LIKE usage_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)',
                partition_name);
            EXECUTE format('ALTER TABLE usage_events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                partition_name, month_at AT TIME ZONE 'UTC', (month_at + interval '1 month') AT TIME ZONE 'UTC');
            created := created + 1;
        END IF;
        month_at := month_at + interval '1 month';
    END LOOP;
    RETURN created;
END
$$;
