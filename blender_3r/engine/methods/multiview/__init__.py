"""All views of a scene in one pass of a network."""
