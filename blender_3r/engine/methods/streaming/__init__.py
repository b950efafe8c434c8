"""Methods that walk through a sequence."""
