"""A live engine's local API: messages, the server of its Unix socket, and clients."""
