"""What authors of tests and of journals import."""
