"""Everything that runs Pictor and the services it needs."""
