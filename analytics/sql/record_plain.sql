-- Record events; those that are there already count nothing again. Rows are locked in one order, so that two
-- workers cannot wait for each other.
-- Plain PostgreSQL: the rollups move in the same statement, and only for rows really inserted.
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
), by_minute AS (
    INSERT INTO usage_minute AS rollup (
        bucket_at, organization_id, project_id, owner_id, key_id, model_id, operation,
        requests, input_tokens, cached_input_tokens, output_tokens, reasoning_output_tokens,
        cost_nano_usd, cost_input_nano_usd, cost_cached_input_nano_usd
    )
    SELECT
        date_trunc('minute', occurred_at, 'UTC'), organization_id, project_id, owner_id, key_id, model_id, operation,
        sum(requests),
        sum(input_tokens),
        sum(cached_input_tokens),
        sum(output_tokens),
        sum(reasoning_output_tokens),
        sum(cost_nano_usd),
        sum(cost_input_nano_usd),
        sum(cost_cached_input_nano_usd)
    FROM recorded
    GROUP BY 1, 2, 3, 4, 5, 6, 7
    ORDER BY 1, 2, 3, 4, 5, 6, 7
    ON CONFLICT (organization_id, bucket_at, project_id, owner_id, key_id, model_id, operation) DO UPDATE SET
        requests = rollup.requests + excluded.requests,
        input_tokens = rollup.input_tokens + excluded.input_tokens,
        cached_input_tokens = rollup.cached_input_tokens + excluded.cached_input_tokens,
        output_tokens = rollup.output_tokens + excluded.output_tokens,
        reasoning_output_tokens = rollup.reasoning_output_tokens + excluded.reasoning_output_tokens,
        cost_nano_usd = rollup.cost_nano_usd + excluded.cost_nano_usd,
        cost_input_nano_usd = rollup.cost_input_nano_usd + excluded.cost_input_nano_usd,
        cost_cached_input_nano_usd = rollup.cost_cached_input_nano_usd + excluded.cost_cached_input_nano_usd
), by_hour AS (
    INSERT INTO usage_hour AS rollup (
        bucket_at, organization_id, project_id, owner_id, key_id, model_id, operation,
        requests, input_tokens, cached_input_tokens, output_tokens, reasoning_output_tokens,
        cost_nano_usd, cost_input_nano_usd, cost_cached_input_nano_usd
    )
    SELECT
        date_trunc('hour', occurred_at, 'UTC'), organization_id, project_id, owner_id, key_id, model_id, operation,
        sum(requests),
        sum(input_tokens),
        sum(cached_input_tokens),
        sum(output_tokens),
        sum(reasoning_output_tokens),
        sum(cost_nano_usd),
        sum(cost_input_nano_usd),
        sum(cost_cached_input_nano_usd)
    FROM recorded
    GROUP BY 1, 2, 3, 4, 5, 6, 7
    ORDER BY 1, 2, 3, 4, 5, 6, 7
    ON CONFLICT (organization_id, bucket_at, project_id, owner_id, key_id, model_id, operation) DO UPDATE SET
        requests = rollup.requests + excluded.requests,
        input_tokens = rollup.input_tokens + excluded.input_tokens,
        cached_input_tokens = rollup.cached_input_tokens + excluded.cached_input_tokens,
        output_tokens = rollup.output_tokens + excluded.output_tokens,
        reasoning_output_tokens = rollup.reasoning_output_tokens + excluded.reasoning_output_tokens,
        cost_nano_usd = rollup.cost_nano_usd + excluded.cost_nano_usd,
        cost_input_nano_usd = rollup.cost_input_nano_usd + excluded.cost_input_nano_usd,
        cost_cached_input_nano_usd = rollup.cost_cached_input_nano_usd + excluded.cost_cached_input_nano_usd
), by_day AS (
    INSERT INTO usage_day AS rollup (
        bucket_at, organization_id, project_id, owner_id, key_id, model_id, operation,
        requests, input_tokens, cached_input_tokens, output_tokens, reasoning_output_tokens,
        cost_nano_usd, cost_input_nano_usd, cost_cached_input_nano_usd
    )
    SELECT
        date_trunc('day', occurred_at, 'UTC'), organization_id, project_id, owner_id, key_id, model_id, operation,
        sum(requests),
        sum(input_tokens),
        sum(cached_input_tokens),
        sum(output_tokens),
        sum(reasoning_output_tokens),
        sum(cost_nano_usd),
        sum(cost_input_nano_usd),
        sum(cost_cached_input_nano_usd)
    FROM recorded
    GROUP BY 1, 2, 3, 4, 5, 6, 7
    ORDER BY 1, 2, 3, 4, 5, 6, 7
    ON CONFLICT (organization_id, bucket_at, project_id, owner_id, key_id, model_id, operation) DO UPDATE SET
        requests = rollup.requests + excluded.requests,
        input_tokens = rollup.input_tokens + excluded.input_tokens,
        cached_input_tokens = rollup.cached_input_tokens + excluded.cached_input_tokens,
        output_tokens = rollup.output_tokens + excluded.output_tokens,
        reasoning_output_tokens = rollup.reasoning_output_tokens + excluded.reasoning_output_tokens,
        cost_nano_usd = rollup.cost_nano_usd + excluded.cost_nano_usd,
        cost_input_nano_usd = rollup.cost_input_nano_usd + excluded.cost_input_nano_usd,
        cost_cached_input_nano_usd = rollup.cost_cached_input_nano_usd + excluded.cost_cached_input_nano_usd
)
SELECT count(*) AS recorded FROM recorded;
