"""What a developer runs: environments, the demo, the suite. Standard library only, so any Python 3.11 will do."""
