"""The import package of the screens; it may use `wfkit.control` and nothing else of wfkit."""
