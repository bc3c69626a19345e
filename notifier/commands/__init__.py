"""The commands, grouped by what they are about: arguments, what they print, exit codes."""
