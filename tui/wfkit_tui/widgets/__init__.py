"""Widgets that draw lines: none holds more of a table than the part that is seen."""
