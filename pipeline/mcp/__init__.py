"""Tools for assistants that speak MCP. They read, and ask the running service for all of it."""
