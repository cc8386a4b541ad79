"""What is allowed, how much, and what it costs: pure rules over facts and an instant."""
