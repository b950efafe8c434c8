"""From a job folder to other programs' files."""
