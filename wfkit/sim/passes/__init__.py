"""The passes of a search, from the certain to the random, each in a file of its own."""
