"""Ground floor: attacks as pure numerics. Torch in, torch out; no path, no print, no clock."""
