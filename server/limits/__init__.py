"""How often: what each kind of work allows whom, and who counts it. Knows no HTTP."""
