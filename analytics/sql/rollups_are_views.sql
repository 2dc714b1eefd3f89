-- Whether the rollups keep themselves (continuous aggregates are views) or are tables that the recording moves.
SELECT relkind <> 'r' AS views FROM pg_class WHERE oid = 'usage_day'::regclass;
