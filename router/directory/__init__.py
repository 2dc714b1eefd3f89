"""What org_service told this router: keys and the catalog."""
