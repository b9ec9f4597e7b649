"""The terminal screens of wfkit: what a running engine does, and what its journal holds."""
