"""The same job by other engines: from the same bronze to the same rows of `gold.customer_360`, each in its own way."""
