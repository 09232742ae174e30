"""What Boxwright asks of the operating system about files: whole writes, removals, locks; where things lie."""
