"""The determinism guard: what workflow code gets in place of the clock and of chance, and what raises."""
