"""Go templates, as Docker's ``--format`` has them. A package of its own: nothing in it knows Boxwright."""
