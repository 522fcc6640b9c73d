"""What ``memaudit defend`` measures where nothing is asked. No torch and no pydantic here."""

NOISE = "0.1,1,10"
"""Standard deviations of noise, as multiples of the root mean square of the change."""

BITS = "8,4,2"
"""Bits to which each tensor's change is rounded."""
