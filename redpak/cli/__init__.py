"""The command line: the only room that prints and that turns errors into exit codes."""
