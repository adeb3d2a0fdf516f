"""What is asked of others over HTTP: each bounded in time and size, each with a circuit breaker."""
