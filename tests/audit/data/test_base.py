import pytest
import torch

from memaudit.audit.data.base import MAX_BYTES, MAX_IMAGES, DataError, Reading, TrainingSet, check_size, distinct


def test_size_limits_are_inclusive() -> None:
    check_size("spec", (MAX_IMAGES,))
    check_size("spec", (1, MAX_BYTES // 4))
    with pytest.raises(DataError, match=r"'spec' needs .* GiB; at most 4 GiB"):
        check_size("spec", (1, MAX_BYTES // 4 + 1))


def test_copies_leave_a_set_and_its_other_readings() -> None:
    records = torch.arange(3.0)[:, None, None, None].expand(3, 1, 2, 2).clone()
    records[2] = records[0]
    other = Reading("centre crop", records + 1)
    data = TrainingSet(records, torch.arange(3), ("a", "b", "c"), (), "", False, readings=(other,))
    kept = distinct(data)
    assert kept.names == ("a", "b")
    assert torch.equal(kept.readings[0].records, other.records[:2])
