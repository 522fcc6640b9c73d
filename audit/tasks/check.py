"""``memaudit check``: do these records, prepared this way, explain what training changed? Runs no attack."""

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from ..events import Listener, silence
from ..machine.means import Means
from ..machine.numerics import exact_numerics
from ..printable import json_text
from ..report.proof import DataCheck
from ..request import RequestError, ScanRequest
from ..request import check as check_request
from ..scan.proof import data_check
from ..scan.scene import load

NO_DATA = RequestError("There are no data to check.", "Give what the model was trained on with --data.")


class Checked(BaseModel):
    """What was checked, and what came out."""

    model_config = ConfigDict(frozen=True)

    before: str
    after: str
    architecture: str
    data: str
    records: int
    control: str = ""
    held_out: int = Field(0, description="Number of held-out records.")
    check: DataCheck

    def to_json(self) -> str:
        """Return it as JSON text."""
        return json_text(json.loads(self.model_dump_json())) + "\n"


def check(request: ScanRequest, listener: Listener = silence) -> Checked:
    """Compare what the data leave of the change with what held-out records and altered copies leave.

    Raises:
        RequestError: No data were given.
        MemauditError: Unusable input or options, in one sentence and a hint.
    """
    check_request(request)
    if request.data is None:
        raise NO_DATA
    with exact_numerics():
        scene = load(request, listener)
        found = data_check(scene, scene.known.recipe, Means(listener))
    if found is None or scene.data is None:
        raise NO_DATA
    return Checked(
        before=str(Path(request.before)),
        after=str(Path(request.after)),
        architecture=scene.architecture.name,
        data=str(request.data),
        records=len(scene.data.records),
        control=str(request.control or ""),
        held_out=0 if scene.control is None else len(scene.control.records),
        check=found,
    )
