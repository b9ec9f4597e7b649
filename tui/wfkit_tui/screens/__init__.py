"""The screens, one file each with the style sheet beside it."""
