-- Tokens and calls of an organization per bucket; a dimension that is not grouped by is null.
SELECT
    extract(epoch FROM bucket_at)::bigint AS bucket_seconds,
    CASE WHEN %(by_project)s THEN project_id END AS project_id,
    CASE WHEN %(by_user)s THEN owner_id END AS user_id,
    CASE WHEN %(by_api_key)s THEN key_id END AS api_key_id,
    CASE WHEN %(by_model)s THEN model_id END AS model,
    sum(requests)::bigint AS requests,
    sum(input_tokens)::bigint AS input_tokens,
    sum(cached_input_tokens)::bigint AS cached_input_tokens,
    sum(output_tokens)::bigint AS output_tokens
FROM usage_buckets
WHERE width = %(width)s
    AND organization_id = %(organization_id)s
    AND bucket_at >= %(start_at)s AND bucket_at < %(end_at)s
    AND operation = ANY(%(operations)s::text[])
    AND (%(project_ids)s::text[] IS NULL OR project_id = ANY(%(project_ids)s::text[]))
    AND (%(user_ids)s::text[] IS NULL OR owner_id = ANY(%(user_ids)s::text[]))
    AND (%(api_key_ids)s::text[] IS NULL OR key_id = ANY(%(api_key_ids)s::text[]))
    AND (%(models)s::text[] IS NULL OR model_id = ANY(%(models)s::text[]))
GROUP BY 1, 2, 3, 4, 5
ORDER BY 1, 2, 3, 4, 5;
