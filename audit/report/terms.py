"""Words with a fixed meaning, for code that must not load the report's model. No torch and no pydantic here."""

from typing import Literal

Evidence = Literal["full", "blurred", "none"]
"""Pictures that outputs may show: all, blurred until clicked, or none."""

EXIT_CODES = {"pass": 0, "fail": 1, "inconclusive": 3}
"""What a command returns for a verdict."""

Severity = Literal["none", "low", "medium", "high", "critical"]
"""How bad a finding is, in ascending order; :mod:`.rules` says which rule gives which."""

Exif = Literal["ignore", "apply"]
"""What is done with the orientation tags of photos."""

Preprocess = Literal["squash", "center-crop", "pad", "none"]
"""How images of another size come into the network's."""
