"""The deterministic core: entries in, commands out; no clock, thread, file, socket or entropy."""
