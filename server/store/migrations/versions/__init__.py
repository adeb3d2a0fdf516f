"""Each step names the one before it; none is ever edited once released."""
