"""What users write workflows with; `wfkit` itself hands out the names."""
