"""Proof that our networks and procedures compute what the published ones do: `python -m tests.parity FOLDER ...`."""
