"""The command line: one file a command group, found through one table, loaded one at a time."""
