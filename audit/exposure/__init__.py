"""What the change betrays of each record, beside records that were not trained on."""
