"""memaudit: can the training data be reconstructed from a model before and after fine-tuning?

The Python API is the same as the command line's::

    from memaudit.audit.scan.pipeline import ScanRequest, scan
    report = scan(ScanRequest(before="before.pt", after="after.pt", data="train/"))
    print(report.verdict.status)
"""

from typing import ClassVar

__version__ = "0.1.0"


class MemauditError(Exception):
    """The root of every error that memaudit raises on purpose.

    ::

        MemauditError                 exit code 2: usage, configuration or input
        |-- attacks.base.Unsupported          this attack cannot treat this victim or recipe
        |-- audit.checkpoint.CheckpointError  unreadable, unsafe or mismatched checkpoints
        |-- audit.families.base.UnknownArchitecture
        |-- audit.data.base.DataError         unreadable training or control set
        |-- audit.plugins.PluginError         no such attack, format, family or data source
        |-- audit.store.StoreError            unusable run folder
        |-- audit.lock.LockError              run folder in which another process works
        |-- audit.executor.ExecutorError      no such executor, or one that broke down
        |-- audit.gate.GateError              malformed gate expression
        |-- audit.options.OptionError         malformed attack option
        |-- audit.recipe.RecipeError          training hyper-parameter out of range
        |-- audit.config.ConfigError          unusable configuration file or variable
        |-- audit.outputs.OutputError         output that cannot be written where it was asked for
        |-- audit.report.ReportError          not a report that this version can read
        |-- audit.baseline.BaselineError      unusable baseline
        |-- audit.files.FormatError           file that cannot be written
        `-- audit.drive.Interrupted           exit code 130: state saved, resumable

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
