"""memaudit: can the training data be reconstructed from a model before and after fine-tuning?

The Python interface does what the command line does::

    import memaudit

    report = memaudit.scan(memaudit.ScanRequest(before="before.pt", after="after.pt", data="train/"))
    print(report.verdict.status)

=================  ====================================================================
``scan``           audit a pair of checkpoints; the reports land in the run folder
``ScanRequest``    what to audit, and how: one field for each option
``AuditReport``    what ``scan`` returns, and ``load`` reads
``load``           read the report of a run folder, or a report file
``diff``           what got better or worse between two reports, or files of them
``infer``          how was the pair trained? Takes a ``ScanRequest``, runs no attack
``defend``         what would lower the leak? Takes a ``ScanRequest`` and ``Defence``
``Defence``        noise on the change of the parameters, or a rounding of it
``MemauditError``  the root of all errors that memaudit raises on purpose
=================  ====================================================================

Each is imported at its first use, so that ``import memaudit`` costs nothing.
"""

from typing import TYPE_CHECKING, ClassVar

__version__ = "0.2.0"

__all__ = ["AuditReport", "Defence", "MemauditError", "ScanRequest", "defend", "diff", "infer", "load", "scan"]

if TYPE_CHECKING:
    from .audit.report.file import load
    from .audit.report.model import AuditReport
    from .audit.request import ScanRequest
    from .audit.scan.pipeline import scan
    from .audit.tasks.alter import Defence
    from .audit.tasks.defend import defend
    from .audit.tasks.infer import infer
    from .audit.trend.compare import diff
else:
    _PLACES = {
        "AuditReport": "report.model",
        "Defence": "tasks.alter",
        "ScanRequest": "request",
        "defend": "tasks.defend",
        "diff": "trend.compare",
        "infer": "tasks.infer",
        "load": "report.file",
        "scan": "scan.pipeline",
    }

    def __getattr__(name):
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"{__name__}.audit.{_PLACES[name]}"), name)

    def __dir__():
        return sorted({*globals(), *_PLACES})


class MemauditError(Exception):
    """The root of every error that memaudit raises on purpose.

    ::

        MemauditError                                 exit code 2: usage, configuration or input
        |-- attacks.contract.attack.Unsupported       this attack cannot treat this victim or recipe
        |-- audit.checkpoints.refusal.CheckpointError unreadable, unsafe or mismatched checkpoints
        |-- audit.data.records.DataError              unreadable training or control set
        |-- audit.families.beside.UnknownArchitecture no network fits the checkpoint
        |-- audit.files.FormatError                   file that cannot be written
        |-- audit.machine.device.DeviceError          no such device, or none of this name here
        |-- audit.machine.executor.ExecutorError      no such executor, or one that broke down
        |-- audit.machine.lock.LockError              run folder in which another process works
        |-- audit.option.ConfigError                  unusable configuration file or variable
        |-- audit.outputs.OutputError                 output that cannot be written where it was asked for
        |-- audit.plugins.PluginError                 no such attack, format, family or data source
        |-- audit.run.seal.SealError                  key of the user's that others could have written
        |-- audit.scoring.kind.KindError              similarities of records that are outside [-1, 1]
        |-- audit.recipe.file.RecipeFileError         unusable recipe file
        |-- audit.recipe.fields.RecipeError           training hyper-parameter out of range
        |-- audit.report.model.ReportError            not a report that this version can read
        |-- audit.report.notebook.PictureError        picture of a report that cannot be read
        |-- audit.request.RequestError                number out of range, or contradicting wishes
        |-- audit.run.options.OptionError             malformed attack option
        |-- audit.run.store.StoreError                unusable run folder
        |-- audit.tasks.alter.DefenceError            defence that cannot be measured
        |-- audit.tasks.runs.RunError                 folder that is no run folder, and so not deleted
        |-- audit.verdict.baseline.BaselineError      unusable baseline
        |-- audit.verdict.expression.GateError        malformed gate expression
        `-- audit.run.drive.Interrupted               exit code 130: state saved, resumable

    Attributes:
        message: What is wrong and where, in one sentence.
        hint: What to do about it, in one sentence; may be empty.
        exit_code: What the command line returns.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()
