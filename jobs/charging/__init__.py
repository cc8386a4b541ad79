"""Has invoices collected by a payment provider, step by step, so that whoever dies leaves nothing double."""
