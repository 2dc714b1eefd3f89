-- The tables as all migrations together leave them; a test compares the two.

CREATE TABLE catalog_state (
    id BIGINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT catalog_state_one_row CHECK (id = 1)
);

CREATE TABLE models (
    id VARCHAR COLLATE "C" NOT NULL,
    operations TEXT[] NOT NULL,
    context_window_tokens BIGINT NOT NULL,
    max_output_tokens BIGINT NOT NULL,
    image_input_tokens BIGINT NOT NULL,
    owned_by TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    retired_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id)
);

CREATE TABLE organizations (
    id VARCHAR COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    is_operator BOOLEAN NOT NULL,
    version BIGINT DEFAULT 0 NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE outbox (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    change JSONB NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE aliases (
    id VARCHAR COLLATE "C" NOT NULL,
    model_id VARCHAR COLLATE "C" NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(model_id) REFERENCES models (id)
);

CREATE TABLE audit_logs (
    id VARCHAR COLLATE "C" NOT NULL,
    organization_id VARCHAR COLLATE "C" NOT NULL,
    type TEXT NOT NULL,
    effective_at TIMESTAMP WITH TIME ZONE NOT NULL,
    actor_key_id TEXT,
    actor_user_id TEXT,
    actor_email TEXT,
    project_id TEXT,
    resource_id TEXT,
    payload JSONB NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(organization_id) REFERENCES organizations (id)
);

CREATE INDEX audit_logs_page ON audit_logs (organization_id, id);

CREATE TABLE concurrency_limits (
    level_kind TEXT NOT NULL,
    level_id VARCHAR COLLATE "C" NOT NULL,
    organization_id VARCHAR COLLATE "C" NOT NULL,
    calls BIGINT NOT NULL,
    PRIMARY KEY (level_kind, level_id),
    FOREIGN KEY(organization_id) REFERENCES organizations (id)
);

CREATE TABLE model_permissions (
    level_kind TEXT NOT NULL,
    level_id VARCHAR COLLATE "C" NOT NULL,
    organization_id VARCHAR COLLATE "C" NOT NULL,
    mode TEXT NOT NULL,
    model_ids TEXT[] NOT NULL,
    PRIMARY KEY (level_kind, level_id),
    FOREIGN KEY(organization_id) REFERENCES organizations (id)
);

CREATE TABLE prices (
    id VARCHAR COLLATE "C" NOT NULL,
    model_id VARCHAR COLLATE "C" NOT NULL,
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    input_nano_usd_per_million BIGINT NOT NULL,
    output_nano_usd_per_million BIGINT NOT NULL,
    cached_input_nano_usd_per_million BIGINT,
    reasoning_output_nano_usd_per_million BIGINT,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(model_id) REFERENCES models (id)
);

CREATE UNIQUE INDEX prices_effective ON prices (model_id, effective_from);

CREATE TABLE projects (
    id VARCHAR COLLATE "C" NOT NULL,
    organization_id VARCHAR COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    archived_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    FOREIGN KEY(organization_id) REFERENCES organizations (id)
);

CREATE INDEX projects_page ON projects (organization_id, id);

CREATE TABLE rate_limits (
    level_kind TEXT NOT NULL,
    level_id VARCHAR COLLATE "C" NOT NULL,
    model_id VARCHAR COLLATE "C" NOT NULL,
    organization_id VARCHAR COLLATE "C" NOT NULL,
    requests_per_minute BIGINT,
    tokens_per_minute BIGINT,
    PRIMARY KEY (level_kind, level_id, model_id),
    FOREIGN KEY(organization_id) REFERENCES organizations (id)
);

CREATE TABLE spend_alerts (
    id VARCHAR COLLATE "C" NOT NULL,
    level_kind TEXT NOT NULL,
    level_id VARCHAR COLLATE "C" NOT NULL,
    period TEXT NOT NULL,
    organization_id VARCHAR COLLATE "C" NOT NULL,
    threshold_cents BIGINT NOT NULL,
    recipients TEXT[] NOT NULL,
    subject_prefix TEXT,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(organization_id) REFERENCES organizations (id)
);

CREATE INDEX spend_alerts_level ON spend_alerts (level_kind, level_id, id);

CREATE TABLE spend_limits (
    level_kind TEXT NOT NULL,
    level_id VARCHAR COLLATE "C" NOT NULL,
    period TEXT NOT NULL,
    organization_id VARCHAR COLLATE "C" NOT NULL,
    threshold_cents BIGINT NOT NULL,
    PRIMARY KEY (level_kind, level_id, period),
    FOREIGN KEY(organization_id) REFERENCES organizations (id)
);

CREATE TABLE upstreams (
    id VARCHAR COLLATE "C" NOT NULL,
    model_id VARCHAR COLLATE "C" NOT NULL,
    base_url TEXT NOT NULL,
    model_name TEXT NOT NULL,
    weight BIGINT NOT NULL,
    api_key TEXT,
    capabilities JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(model_id) REFERENCES models (id)
);

CREATE TABLE users (
    id VARCHAR COLLATE "C" NOT NULL,
    organization_id VARCHAR COLLATE "C" NOT NULL,
    email TEXT NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    added_at TIMESTAMP WITH TIME ZONE NOT NULL,
    removed_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    FOREIGN KEY(organization_id) REFERENCES organizations (id)
);

CREATE UNIQUE INDEX users_live_email ON users (organization_id, lower(email)) WHERE removed_at IS NULL;

CREATE TABLE admin_keys (
    id VARCHAR COLLATE "C" NOT NULL,
    organization_id VARCHAR COLLATE "C" NOT NULL,
    user_id VARCHAR COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    key_hash VARCHAR COLLATE "C" NOT NULL,
    redacted_value TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE,
    revoked_at TIMESTAMP WITH TIME ZONE,
    last_used_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    FOREIGN KEY(organization_id) REFERENCES organizations (id),
    FOREIGN KEY(user_id) REFERENCES users (id),
    UNIQUE (key_hash)
);

CREATE INDEX admin_keys_page ON admin_keys (organization_id, id);

CREATE TABLE service_accounts (
    id VARCHAR COLLATE "C" NOT NULL,
    organization_id VARCHAR COLLATE "C" NOT NULL,
    project_id VARCHAR COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    deleted_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    FOREIGN KEY(organization_id) REFERENCES organizations (id),
    FOREIGN KEY(project_id) REFERENCES projects (id)
);

CREATE INDEX service_accounts_page ON service_accounts (project_id, id);

CREATE TABLE api_keys (
    id VARCHAR COLLATE "C" NOT NULL,
    organization_id VARCHAR COLLATE "C" NOT NULL,
    project_id VARCHAR COLLATE "C" NOT NULL,
    user_id VARCHAR COLLATE "C",
    service_account_id VARCHAR COLLATE "C",
    name TEXT NOT NULL,
    redacted_value TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE,
    revoked_at TIMESTAMP WITH TIME ZONE,
    last_used_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    CONSTRAINT api_keys_one_owner CHECK ((user_id IS NULL) <> (service_account_id IS NULL)),
    FOREIGN KEY(organization_id) REFERENCES organizations (id),
    FOREIGN KEY(project_id) REFERENCES projects (id),
    FOREIGN KEY(user_id) REFERENCES users (id),
    FOREIGN KEY(service_account_id) REFERENCES service_accounts (id)
);

CREATE INDEX api_keys_page ON api_keys (project_id, id);

CREATE INDEX api_keys_service_account ON api_keys (service_account_id);

CREATE INDEX api_keys_user ON api_keys (user_id);

CREATE TABLE api_key_secrets (
    key_hash VARCHAR COLLATE "C" NOT NULL,
    key_id VARCHAR COLLATE "C" NOT NULL,
    organization_id VARCHAR COLLATE "C" NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    valid_until TIMESTAMP WITH TIME ZONE,
    revoked_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (key_hash),
    FOREIGN KEY(key_id) REFERENCES api_keys (id),
    FOREIGN KEY(organization_id) REFERENCES organizations (id)
);

CREATE INDEX api_key_secrets_key ON api_key_secrets (key_id);

INSERT INTO catalog_state (id, version) VALUES (1, 0);

CREATE FUNCTION refuse_price_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'prices are immutable: add a new one' USING ERRCODE = 'restrict_violation';
END
$$;

CREATE TRIGGER prices_are_immutable BEFORE UPDATE OR DELETE ON prices
    FOR EACH ROW EXECUTE FUNCTION refuse_price_change();
