"""What the evidence shows: rules, findings and gates."""
