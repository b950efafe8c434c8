"""The process: requests in, events out; also the command line."""
