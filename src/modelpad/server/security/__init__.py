"""Who may ask: keys, rate limits, hosts and origins."""
