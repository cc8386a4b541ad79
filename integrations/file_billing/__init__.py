"""A folder as a payment provider, for who collects by bank transfer or with a program of their own."""
