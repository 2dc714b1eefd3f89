-- What each level of an organization spent in a day, in a month and ever; no row where nothing was ever recorded.
SELECT
    CASE
        WHEN grouping(project_id) = 0 THEN 'project'
        WHEN grouping(owner_id) = 0 THEN 'user'
        WHEN grouping(key_id) = 0 THEN 'key'
        ELSE 'organization'
    END AS level,
    coalesce(project_id, owner_id, key_id, %(organization_id)s) AS id,
    coalesce(sum(cost_nano_usd) FILTER (WHERE bucket_at = %(day_at)s), 0)::bigint AS day_nano_usd,
    coalesce(
        sum(cost_nano_usd) FILTER (WHERE bucket_at >= %(month_at)s AND bucket_at < %(next_month_at)s), 0
    )::bigint AS month_nano_usd,
    coalesce(sum(cost_nano_usd), 0)::bigint AS ever_nano_usd
FROM usage_day
WHERE organization_id = %(organization_id)s
GROUP BY GROUPING SETS ((), (project_id), (owner_id), (key_id))
HAVING count(*) > 0
ORDER BY 1, 2;
