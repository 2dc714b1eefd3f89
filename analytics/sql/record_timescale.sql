-- Record events; those that are there already count nothing again. Rows are locked in one order, so that two
-- workers cannot wait for each other.
-- TimescaleDB: continuous aggregates keep the rollups. NOT EXECUTED BY THE TEST SUITE.
WITH incoming AS (
    SELECT *
    FROM jsonb_to_recordset(%(events)s::jsonb) AS event (
        event_id text,
        occurred_at timestamptz,
        organization_id text,
        project_id text,
        key_id text,
        owner_kind text,
        owner_id text,
        operation text,
        model_id text,
        upstream_id text,
        stream boolean,
        status text,
        usage_source text,
        input_tokens bigint,
        cached_input_tokens bigint,
        output_tokens bigint,
        reasoning_output_tokens bigint,
        requests bigint,
        cost_nano_usd bigint,
        cost_input_nano_usd bigint,
        cost_cached_input_nano_usd bigint,
        price_version text,
        duration_ms bigint,
        first_token_ms bigint,
        corrects text
    )
), recorded AS (
    INSERT INTO usage_events (
        event_id,
        occurred_at,
        organization_id,
        project_id,
        key_id,
        owner_kind,
        owner_id,
        operation,
        model_id,
        upstream_id,
        stream,
        status,
        usage_source,
        input_tokens,
        cached_input_tokens,
        output_tokens,
        reasoning_output_tokens,
        requests,
        cost_nano_usd,
        cost_input_nano_usd,
        cost_cached_input_nano_usd,
        price_version,
        duration_ms,
        first_token_ms,
        corrects
    )
    SELECT * FROM incoming
    ORDER BY event_id, occurred_at
    ON CONFLICT (event_id, occurred_at) DO NOTHING
    RETURNING *
)
SELECT count(*) AS recorded FROM recorded;
