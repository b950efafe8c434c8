"""Small pure functions on arrays: cameras, similarity transforms, two-view geometry."""
