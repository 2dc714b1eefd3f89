-- Cost of an organization per day, by line: a call's cost is the sum of its three lines. A dimension that is not
-- grouped by is null.
SELECT
    extract(epoch FROM bucket_at)::bigint AS bucket_seconds,
    CASE WHEN %(by_project)s THEN project_id END AS project_id,
    CASE WHEN %(by_user)s THEN owner_id END AS user_id,
    CASE WHEN %(by_api_key)s THEN key_id END AS api_key_id,
    CASE WHEN %(by_line_item)s THEN line_item END AS line_item,
    sum(cost)::bigint AS cost_nano_usd,
    CASE WHEN %(by_line_item)s THEN sum(tokens)::bigint END AS tokens
FROM usage_buckets
CROSS JOIN LATERAL (
    VALUES
        (model_id || ', input_tokens', input_tokens - cached_input_tokens, cost_input_nano_usd),
        (model_id || ', cached_input_tokens', cached_input_tokens, cost_cached_input_nano_usd),
        (model_id || ', output_tokens', output_tokens,
            cost_nano_usd - cost_input_nano_usd - cost_cached_input_nano_usd)
) AS line (line_item, tokens, cost)
WHERE width = '1d'
    AND organization_id = %(organization_id)s
    AND bucket_at >= %(start_at)s AND bucket_at < %(end_at)s
    AND (%(project_ids)s::text[] IS NULL OR project_id = ANY(%(project_ids)s::text[]))
    AND (%(user_ids)s::text[] IS NULL OR owner_id = ANY(%(user_ids)s::text[]))
    AND (%(api_key_ids)s::text[] IS NULL OR key_id = ANY(%(api_key_ids)s::text[]))
    AND (%(line_items)s::text[] IS NULL OR line_item = ANY(%(line_items)s::text[]))
    AND (tokens <> 0 OR cost <> 0)
GROUP BY 1, 2, 3, 4, 5
ORDER BY 1, 2, 3, 4, 5;
