"""Profiles: how much a scan does, as values for options that were not given. No torch here."""

from typing import Any, Literal

Profile = Literal["smoke", "ci", "full"]

PROFILES: dict[Profile, dict[str, Any]] = {
    "smoke": {"max-time": 180.0, "max-iterations": 300, "restarts": 1},
    "ci": {"max-time": 1200.0, "restarts": 1},
    "full": {"attack": ["all"], "restarts": 3},
}
"""Values by option; docs/configuration.md holds the same table."""
