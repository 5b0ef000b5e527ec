"""Where a fit begins: initial mixtures, and components put elsewhere."""
