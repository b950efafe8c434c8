"""Photos, movies, sequences and rigs to frames in memory, one at a time."""
