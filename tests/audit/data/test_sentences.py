import os

import pytest

from memaudit.audit.data import sentences
from memaudit.audit.data.records import DataError
from memaudit.audit.data.sentences import class_indices, read_sentences

WANTED = [("The boy ran.", "1", 1), ("She saw a cat.", "0", 2)]

FORMS = {
    "a.tsv": ("1\tThe boy ran.\n0\tShe saw a cat.\n", 0),
    "b.tsv": ("source\tsentence\tlabel\nx\tThe boy ran.\t1\ny\tShe saw a cat.\t0\n", 1),
    "a.csv": ('label,Text\n1,The boy ran.\n0,"She saw a cat."\n', 1),
    "b.csv": ("Sentence,TARGET,text\nThe boy ran.,1,no\nShe saw a cat.,0,no\n", 1),
    "a.jsonl": ('{"text": "The boy ran.", "label": 1}\n\n{"label": false, "text": "She saw a cat."}', 0),
    "a.ndjson": ('{"content": "The boy ran.", "labels": "1"}\n{"content": "She saw a cat.", "labels": 0}\n', 0),
}


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def plain(found):
    return [(sentence.text, sentence.label) for sentence in found]


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("change", ["", "windows", "mark"])
def test_each_form_gives_the_same_sentences(name, change, tmp_path):
    content, head = FORMS[name]
    if change == "windows":
        content = content.replace("\n", "\r\n")
    found = read_sentences(write(tmp_path, name, "\ufeff" * (change == "mark") + content))
    assert plain(found) == [(text, label) for text, label, _ in WANTED]
    gap = name == "a.jsonl"
    assert [sentence.line for sentence in found] == [1 + head, 2 + head + gap]


def test_another_file_has_a_sentence_a_line(tmp_path):
    found = read_sentences(write(tmp_path, "a.txt", "The boy ran.\n\n  \n1\tShe saw a\u2028cat. \n"))
    assert [tuple(sentence) for sentence in found] == [("The boy ran.", "", 1), ("1\tShe saw a\u2028cat.", "", 4)]


def test_a_column_is_named(tmp_path):
    path = write(tmp_path, "a.csv", "text,Question,label\nno,yes,0\n")
    assert plain(read_sentences(path, "question")) == [("yes", "0")]
    lines = write(tmp_path, "a.jsonl", '{"text": "no", "q": "yes"}\n')
    assert plain(read_sentences(lines, "q")) == [("yes", "")]
    tabs = write(tmp_path, "a.tsv", "q\tlabel\nyes\t0\n")
    assert plain(read_sentences(tabs, "q")) == [("yes", "0")]


def test_a_cell_may_hold_several_lines_and_a_quote_stays_one(tmp_path):
    found = read_sentences(write(tmp_path, "a.csv", 'text,label\n"one\ntwo ""three""",1\nfour,0\n'))
    assert [tuple(sentence) for sentence in found] == [('one\ntwo "three"', "1", 3), ("four", "0", 4)]
    assert plain(read_sentences(write(tmp_path, "a.tsv", '1\t"what" he said\n'))) == [('"what" he said', "1")]


BAD = {
    "nul.txt": (b"fine\nno\0t\n", "Line 2 of .*nul.txt.* NUL byte"),
    "latin.txt": ("fine\n\ncafé\n".encode("latin-1"), "Line 3 of .*latin.txt.* is not UTF-8"),
    "wide.txt": ("fine\n".encode("utf-16"), "Line 1 of .*wide.txt.*"),
    "empty.txt": (b"", "empty.txt.* holds no sentences"),
    "blank.csv": (b"text,label\n", "blank.csv.* holds no sentences"),
    "long.txt": (b"fine\n" + b"x" * 100_001, "Line 2 of .*long.txt.* has 100001 bytes; at most 100000"),
    "a.tsv": (b"1\tfine\nno label\n", "Line 2 of .*a.tsv.* has 1 columns"),
    "b.tsv": (b"1\tfine\n1\t*\tthree\n", "Line 2 of .*b.tsv.* has 3 columns"),
    "a.csv": (b"text,label\nfine,1\na,b,c\n", "Line 3 of .*a.csv.* has 3 columns, and the first line 2"),
    "b.csv": (
        b"words,label\nfine,1\n",
        "Line 1 of .*b.csv.* has no column named sentence, text or content, but 'w",
    ),
    "c.csv": (b'text\n"fine" not\n', "Line 2 of .*c.csv.* is not CSV"),
    "a.jsonl": (b'{"text": "fine"}\n{"text": 1}\n', "Line 2 of .*a.jsonl.* has no text"),
    "b.jsonl": (b'["fine"]\n', "Line 1 of .*b.jsonl.* is not a JSON object"),
    "c.jsonl": (b'{"text": "fine"\n', "Line 1 of .*c.jsonl.* is not a JSON object"),
    "d.jsonl": (b'{"label": 1}\n', "Line 1 of .*d.jsonl.* has no column named .*, but 'label'"),
    "e.jsonl": (b'{"text": ' + b"[" * 50_000 + b"\n", "Line 1 of .*e.jsonl.* is not a JSON object"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_clear_error_with_its_line(name, tmp_path):
    content, told = BAD[name]
    with pytest.raises(DataError, match=told) as caught:
        read_sentences(write(tmp_path, name, content))
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_column_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"Line 1 .* has no column 'words', but 'text', 'label'"):
        read_sentences(write(tmp_path, "a.csv", "text,label\nfine,1\n"), "words")
    with pytest.raises(DataError, match=r"has no columns, so none of them is 'words'"):
        read_sentences(write(tmp_path, "a.txt", "fine\n"), "words")


def test_what_is_no_file_is_refused_and_no_pipe_is_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    for path in (tmp_path, tmp_path / "none.txt", tmp_path / "pipe.txt", tmp_path / "a\0b"):
        with pytest.raises(DataError, match="cannot be read"):
            read_sentences(path)


def test_limits(tmp_path, monkeypatch):
    path = write(tmp_path, "a.txt", "one\ntwo\nthree\n")
    monkeypatch.setattr(sentences, "MAX_SENTENCES", 2)
    with pytest.raises(DataError, match="holds more than 2 sentences"):
        read_sentences(path)
    monkeypatch.setattr(sentences, "MAX_FILE", 5)
    with pytest.raises(DataError, match="is larger than 0 MiB"):
        read_sentences(path)


def labelled(*labels):
    return [sentences.Sentence("text", label, line) for line, label in enumerate(labels, 1)]


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        (("1", "0", "7"), ([1, 0, 7], ())),
        (("1.0", "0.0", "-1"), ([1, 0, -1], ())),
        (("", "3"), ([-1, 3], ())),
        (("", ""), ([-1, -1], ())),
        (("spam", "ham", "", "spam"), ([1, 0, -1, 1], ("ham", "spam"))),
        (("0", "no"), ([0, 1], ("0", "no"))),
        (("0.5", "1"), ([0, 1], ("0.5", "1"))),
    ],
)
def test_whole_numbers_are_indices_and_other_labels_are_names(labels, wanted):
    assert class_indices("file", labelled(*labels)) == wanted


def test_a_negative_label_is_named_with_its_line():
    with pytest.raises(DataError, match=r"Line 2 of file has the label -2, which is no class index"):
        class_indices("file", labelled("0", "-2"))
