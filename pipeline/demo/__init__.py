"""A gallery made from nothing, so that the first five minutes need no pictures and no network."""
