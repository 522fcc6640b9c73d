"""Sections of a Markdown file that are cut to a size."""

from memaudit.reports.common.sections import Section, fair_share, size_of, table


def test_rows_are_cut_from_the_end_and_a_head_never_stands_alone() -> None:
    section = table("Findings", ("Rule", "What"), [("MA001", "ä" * 10), ("MA002", "b"), ("MA003", "c")])
    whole, missing = section.render(section.size)
    assert missing == 0
    assert whole.startswith("## Findings\n\n| Rule | What |\n|---|---|\n| MA001 | ")
    assert size_of(whole) == section.size
    part, missing = section.render(section.size - 1)
    assert missing == 1
    assert part == whole.replace("| MA003 | c |\n", "")
    assert section.render(30) == ("", 3)


def test_a_section_without_a_title_is_its_rows() -> None:
    assert Section("", ["one", "two"]).render(100) == ("one\ntwo\n\n", 0)


def test_small_ones_are_whole_and_the_rest_share_alike() -> None:
    assert fair_share([10, 20, 30], 100) == 30
    assert fair_share([10, 500, 600], 410) == 200
    assert fair_share([], 5) == 0


def test_marks_that_no_file_can_hold_are_counted_as_they_are_written() -> None:
    assert size_of("\ud800") == len("\\ud800")
