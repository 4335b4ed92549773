"""The limit of every wait."""

# Far above what the slowest machine takes: what reaches it hangs.
LIMIT_SECONDS = 120
