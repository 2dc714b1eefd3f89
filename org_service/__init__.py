"""The control plane: organizations, projects, keys, limits and the catalog, in OpenAI's administration shapes."""
