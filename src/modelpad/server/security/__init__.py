"""Access: API keys, rate limits, host names and origins."""
