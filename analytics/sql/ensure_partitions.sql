-- A place for every event from the oldest that is accepted to those of the coming months.
SELECT ensure_usage_partitions(%(from_at)s, %(until_at)s) AS created;
