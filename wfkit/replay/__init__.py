"""Reads histories and never writes: what happened in a run, and what it waits for."""
