"""What those who run ChatKit ask it: is it well, what is it doing, and what happens when this breaks."""
