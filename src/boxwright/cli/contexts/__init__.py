"""Docker's contexts: `files` has them, `options` and `archive` are where they come from, `show` and `edit` are the
commands."""
