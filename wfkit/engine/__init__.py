"""Everything that acts: runs workflows for real, over a journal."""
