"""Where histories are kept: the port, and the journals behind it."""
