"""Windows that ask for something before it is done, and show the command that does the same."""
