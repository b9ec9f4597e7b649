"""`wfkit dev`: a supervisor, the worker that it keeps running, and the checker that tries new code on old histories."""
