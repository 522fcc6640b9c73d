import json

import pytest

from benchmarks import engine

TOY = [
    "--networks", "conv", "--steps", "2", "3", "--samples", "1", "--widths", "8", "--repeats", "1", "--device", "cpu",
]  # fmt: skip


def test_the_engine_benchmark_at_toy_size(tmp_path):
    results, page = tmp_path / "engine.json", tmp_path / "page.md"
    page.write_text("before\n<!-- engine -->\nold\n<!-- end engine -->\nafter\n")
    engine.main([*TOY, "--results", str(results), "--page", str(page)])
    found = json.loads(results.read_text())
    engine.write(found["rows"], found["hardware"], results, page)  # in place of the rows of the first time
    found = json.loads(results.read_text())
    rows = found["rows"]
    assert found["hardware"]["torch"]
    assert len(rows) == 4 * 5
    assert all(row["error"] < 1e-3 and row["seconds"] > 0 for row in rows)
    peaks = {row["engine"]: row["peak_bytes"] for row in rows if row["network"] == "conv" and row["samples"] == 4}
    assert peaks["published"] > peaks["full"]
    assert (tmp_path / "engine.png").read_bytes().startswith(b"\x89PNG")
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert text.count("\n| conv |") == 3


def test_rows_of_another_device_are_not_put_among_those_of_this_one(tmp_path):
    results = tmp_path / "engine.json"
    results.write_text(json.dumps({"hardware": {"device": "another"}, "rows": []}))
    with pytest.raises(SystemExit, match="was measured on another"):
        engine.main([*TOY, "--results", str(results), "--no-page"])
    assert json.loads(results.read_text())["rows"] == []
