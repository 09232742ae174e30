"""Accounts, tokens and rights: which principal a request comes from, and what it may do."""
