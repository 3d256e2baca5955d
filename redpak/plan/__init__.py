"""Plans: a launch as pure data."""
