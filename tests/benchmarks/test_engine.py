import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOY = [
    "--networks", "conv", "--steps", "2", "3", "--samples", "1", "--widths", "8", "--repeats", "1", "--device", "cpu",
]  # fmt: skip


def test_the_engine_benchmark_at_toy_size(tmp_path):
    results, page = tmp_path / "engine.json", tmp_path / "page.md"
    page.write_text("before\n<!-- engine -->\nold\n<!-- end engine -->\nafter\n")
    words = [sys.executable, "-m", "benchmarks.engine", *TOY, "--results", results, "--page", page]
    for _ in range(2):  # the second run replaces the rows of the first
        subprocess.run([str(word) for word in words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
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
    words = [sys.executable, "-m", "benchmarks.engine", *TOY, "--results", str(results), "--no-page"]
    done = subprocess.run(words, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "was measured on another" in done.stderr
    assert json.loads(results.read_text())["rows"] == []
