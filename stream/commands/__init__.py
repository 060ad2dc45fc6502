"""What an operator types: one module for each command, called by the command line."""
