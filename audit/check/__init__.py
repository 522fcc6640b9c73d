"""Whether given records explain the change, measured beside records that were not trained on."""
