"""From a query to the vector that is searched for: the same fetch, decode and embedding as ingestion."""
