"""Do given records explain the change? Measured beside records that were not trained on."""
