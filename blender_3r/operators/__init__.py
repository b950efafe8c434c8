"""One file per thing a user does. Each has `classes` to register."""
