"""What a tenant owes: prices of plans and add-ons by the day, overage by its price model, as lines."""
