"""Tables as people have them: encodings, delimiters, quoting, broken rows, columns without a word about them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from headstart.data import LeftOut, read_dataset
from headstart.errors import DataError, OptionError

ROWS = [("a fine film, truly", "good"), ('it says "no"', "bad"), ("two\nlines", "good"), ("NA", "None")]


def _write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def _csv(delimiter: str = ",") -> str:
    lines = [f"review{delimiter}label"]
    lines += [f'"{text.replace(chr(34), chr(34) * 2)}"{delimiter}{label}' for text, label in ROWS]
    return "\r\n".join(lines) + "\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_any_encoding_and_delimiter_gives_the_same_items(tmp_path: Path, encoding: str, delimiter: str) -> None:
    data = read_dataset(_write(tmp_path / "a.csv", _csv(delimiter), encoding))
    assert data.items.values == tuple(text for text, _ in ROWS)
    assert [data.classes[target] for target in data.targets] == [label for _, label in ROWS]
    assert data.items.names == ("row 1", "row 2", "row 3", "row 4")


def test_western_bytes_are_read_as_western(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", "text,label\ncafé très bon,pos\nnaïve,neg\ngrüße aus köln,pos\n", "cp1252")
    data = read_dataset(path)
    assert data.items.values == ("café très bon", "naïve", "grüße aus köln")
    assert "a.csv was read as cp1252" in data.notes


def test_cyrillic_bytes_are_recognised(tmp_path: Path) -> None:
    text = "text,label\n" + "Отличный фильм всем советую посмотреть,да\nОчень скучно и долго,нет\n" * 4
    assert read_dataset(_write(tmp_path / "a.csv", text, "cp1251")).classes == ("да", "нет")


def test_columns_are_found_and_said(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", "id,Sentiment,review\n1,pos,a long text\n2,neg,another text\n")
    data = read_dataset(path)
    assert (data.modality, data.items.values) == ("text", ("a long text", "another text"))
    assert data.notes == ("text column: 'review' (longest texts)", "target: 'Sentiment'")


def test_the_only_column_of_few_values_is_the_target(tmp_path: Path) -> None:
    rows = "".join(f"{number},text number {number},{'ab'[number % 2]}\n" for number in range(8))
    data = read_dataset(_write(tmp_path / "a.csv", "id,words,kind\n" + rows))
    assert data.classes == ("a", "b")
    assert "target: 'kind'" in data.notes


def test_an_unclear_target_is_an_error_that_lists_the_columns(tmp_path: Path) -> None:
    rows = "".join(f"text number {number},{'ab'[number % 2]},{'cd'[number % 2]}\n" for number in range(8))
    with pytest.raises(DataError, match="'words', 'kind', 'colour', and 'kind' and 'colour' could all be the target"):
        read_dataset(_write(tmp_path / "a.csv", "words,kind,colour\n" + rows))
    with pytest.raises(DataError, match="none of them is clearly the target") as caught:
        read_dataset(_write(tmp_path / "a.csv", "words,more\na,b\nc,d\n"))
    assert "--target" in caught.value.hint


def test_a_wrong_column_name_gets_the_nearest(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", "text,label\na,b\nc,d\n")
    for option in ({"target": "lable"}, {"column": "labels"}, {"groups": "Label"}):
        with pytest.raises(DataError, match="there is no column") as caught:
            read_dataset(path, **option)
        assert caught.value.hint == "Did you mean 'label'?"


def test_one_column_cannot_be_both(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", "text,label\na,b\nc,d\n")
    with pytest.raises(DataError, match="must be in different columns, but both are 'text'"):
        read_dataset(path, target="text", column="text")
    with pytest.raises(DataError, match="no column with texts or images: it has only 'label'"):
        read_dataset(_write(tmp_path / "b.csv", "label\na\nb\n"))


def test_repeated_column_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'a.csv' has more than one 'text'"):
        read_dataset(_write(tmp_path / "a.csv", "text,label,text\na,b,c\n"))
    frame = pd.DataFrame([["a", "b"]], columns=["text", "text"])
    with pytest.raises(DataError, match="the DataFrame has more than one 'text'"):
        read_dataset(frame)


@pytest.mark.parametrize("content", ["", " \n\n"])
def test_an_empty_table_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(DataError, match=r"the table 'a.csv' is empty"):
        read_dataset(_write(tmp_path / "a.csv", content))
    with pytest.raises(DataError, match=r"can be used: it has no rows"):
        read_dataset(_write(tmp_path / "a.csv", "text,label\n"))


def test_broken_rows_are_left_out_by_name(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", "text,label\na,x\nb\nc,y,z\n,x\nd, \ne,y,\n")
    data = read_dataset(path)
    assert data.items.values == ("a", "e")
    assert data.left_out == (
        LeftOut("row 2", "1 field instead of 2"),
        LeftOut("row 3", "3 fields instead of 2"),
        LeftOut("row 4", "empty text"),
        LeftOut("row 5", "no label"),
    )


def test_nothing_left_says_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"can be used: empty text \(2\); no label \(1\)") as caught:
        read_dataset(_write(tmp_path / "a.csv", "text,label\n ,a\n ,b\nc,\n"))
    assert caught.value.hint == "Look at row 1, row 2, row 3."


def test_lone_quotes_in_a_tab_separated_file_are_part_of_the_text(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.tsv", 'text\tlabel\n"so he said\tx\nand left"\ty\n"quoted ""well"""\tx\n')
    assert read_dataset(path).items.values == ('"so he said', 'and left"', 'quoted "well"')


def test_long_texts_spaces_after_commas_and_old_line_ends_are_read(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", f'text, label\r"{"x" * 200_000}", a\r"b, c", d\r')
    data = read_dataset(path)
    assert [len(str(value)) for value in data.items.values] == [200_000, 4]
    assert data.classes == ("a", "d")


def test_the_spreadsheet_line_that_names_the_delimiter_is_obeyed(tmp_path: Path) -> None:
    assert read_dataset(_write(tmp_path / "a.csv", "sep=;\ntext;label\na, b;x\nc;y\n")).items.values == ("a, b", "c")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json", "ndjson", "parquet"])
def test_every_format_gives_the_same_dataset(tmp_path: Path, suffix: str) -> None:
    frame = pd.DataFrame(ROWS, columns=["review", "label"])
    path = tmp_path / f"a.{suffix}"
    if suffix == "csv":
        frame.to_csv(path, index=False)
    elif suffix == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_json(path, orient="records", lines=suffix != "json")
    data = read_dataset(path)
    assert data.items.values == tuple(text for text, _ in ROWS)
    assert data.classes == ("bad", "good", "None")


def test_json_keeps_types_as_words_and_leaves_broken_lines_out(tmp_path: Path) -> None:
    lines = ['{"text": "a", "label": true}', '{"text": "b\u2028c", "label": false}', "{oops", "[1]", '{"text": "d"}']
    data = read_dataset(_write(tmp_path / "a.jsonl", "\n".join(lines)))
    assert (data.classes, data.items.values) == (("False", "True"), ("a", "b\u2028c"))
    assert set(data.left_out) == {
        LeftOut("row 3", "not valid JSON"),
        LeftOut("row 4", "not a JSON object"),
        LeftOut("row 5", "no label"),
    }


def test_json_without_objects_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must hold JSON objects.* but has none: line 1 is not valid JSON"):
        read_dataset(_write(tmp_path / "a.json", "[1, 2"))
    with pytest.raises(DataError, match="has none: row 1 is not a JSON object"):
        read_dataset(_write(tmp_path / "a.json", "3"))


def test_unreadable_parquet_and_unknown_suffixes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'a.parquet' cannot be read as Parquet"):
        read_dataset(_write(tmp_path / "a.parquet", "hello"))
    with pytest.raises(DataError, match=r"a table must end in .csv, .* but got 'a.zip'") as caught:
        read_dataset(_write(tmp_path / "a.zip", "hello"))
    assert "unpack" in caught.value.hint


def test_a_table_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    path = _write(tmp_path / "a.csv", "text,label\n")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        read_dataset(path)


def test_image_paths_are_relative_to_the_table(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for name in "ab":
        (tmp_path / "pictures" / f"{name}.jpg").write_bytes(b"x")
    absolute = tmp_path / "pictures" / "b.jpg"
    rows = f"pictures/a.jpg,a long description of it,x\n{absolute},another description,y\npictures/c.jpg,a third,x\n"
    data = read_dataset(_write(tmp_path / "a.csv", "file,caption,label\n" + rows))
    assert (data.modality, data.items.names) == ("image", ("pictures/a.jpg", "pictures/b.jpg"))
    assert data.items.values == (tmp_path / "pictures/a.jpg", absolute)
    assert data.left_out == (LeftOut("row 3", "file not found: pictures/c.jpg"),)
    assert data.notes[0] == "image column: 'file' (image files)"
    assert read_dataset(tmp_path / "a.csv", modality="text").items.values[0] == "a long description of it"


def test_asking_for_images_where_none_are_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column holds paths of images; the columns are 'text', 'label'"):
        read_dataset(_write(tmp_path / "a.csv", "text,label\na,b\nc,d\n"), modality="image")
    with pytest.raises(OptionError, match="modality must be 'auto', 'image' or 'text', but got 'video'"):
        read_dataset(tmp_path / "a.csv", modality="video")  # type: ignore[arg-type]


def test_a_column_of_sides_makes_the_split(tmp_path: Path) -> None:
    rows = "one,a,train\ntwo,b,train\nthree,a,validation\nfour,b,Test\n"
    data = read_dataset(_write(tmp_path / "a.csv", "text,label,split\n" + rows))
    assert data.sides == ("train", "train", "train", "test")
    assert "split: column 'split'" in data.notes


def test_groups_are_read_and_unknown_ones_belong_with_nobody(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "a.csv", "text,label,patient\na long one,x,p1\nb long one,y,p1\nc long one,x,\nd long one,y,\n"
    )
    groups = read_dataset(path, groups="patient").groups or ()
    assert groups[:2] == ("p1", "p1")
    assert len(set(groups)) == 3


def test_a_folder_of_tables_has_sides(tmp_path: Path) -> None:
    _write(tmp_path / "train.csv", "text,label\na long,x\nb long,y\n")
    _write(tmp_path / "test.csv", "label,text\nx,c long\nbroken\n")
    data = read_dataset(tmp_path)
    assert (data.sides, data.items.names[2]) == (("train", "train", "test"), "test.csv row 1")
    assert data.left_out == (LeftOut("test.csv row 2", "1 field instead of 2"),)


def test_a_test_table_without_labels_is_not_used(tmp_path: Path) -> None:
    _write(tmp_path / "train.csv", "text,label\na long,x\nb long,y\n")
    _write(tmp_path / "test.csv", "text\nc long\n")
    data = read_dataset(tmp_path)
    assert data.sides is None
    assert "test.csv has no column 'label' and was not used" in data.notes


def test_shards_of_a_repository_are_one_table_each_side(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number, name in enumerate(["train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"]):
        frame = pd.DataFrame({"text": [f"one {number}", f"two {number}"], "label": ["x", "y"]})
        frame.to_parquet(tmp_path / "data" / f"{name}.parquet")
    assert read_dataset(tmp_path).sides == ("train",) * 4 + ("test",) * 2


def test_one_table_beside_a_folder_of_images_is_the_dataset(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in "ab":
        (tmp_path / "images" / f"{name}.jpg").write_bytes(b"x")
    _write(tmp_path / "labels.csv", "image,label\nimages/a.jpg,x\nimages/b.jpg,y\n")
    assert read_dataset(tmp_path).classes == ("x", "y")


def test_a_test_table_uses_the_columns_of_training(tmp_path: Path) -> None:
    train = _write(tmp_path / "one.csv", "words,kind,label\na long,1,x\nb long,2,y\n")
    test = _write(tmp_path / "two.csv", "words,remark,label\nc,a much longer remark,x\n")
    data = read_dataset(train, test=test)
    assert (data.sides, data.items.values[2]) == (("train", "train", "test"), "c")
    with pytest.raises(DataError, match="can be used: no label"):
        read_dataset(train, test=_write(tmp_path / "three.csv", "words,label\nc,\n"))


def test_real_sentences_with_their_own_sides() -> None:
    folder = Path(__file__).parents[4] / "shared" / "data" / "text" / "sst2"
    if not folder.is_dir():
        pytest.skip("the development data is not here")
    data = read_dataset(folder)
    assert (len(data), data.classes) == (8741, ("negative", "positive"))
    assert (data.sides or ()).count("test") == 1821


def test_written_and_read_rows_are_the_same(tmp_path: Path) -> None:
    texts = ["plain", 'comma, quote " and\nline', "tab\tand; and |", "'single'", "ends with \\"]
    pd.DataFrame({"text": texts, "label": list("ababa")}).to_csv(tmp_path / "a.csv", index=False)
    assert read_dataset(tmp_path / "a.csv").items.values == tuple(texts)
    lines = [json.dumps({"text": text, "label": "ab"[number % 2]}) for number, text in enumerate(texts)]
    assert read_dataset(_write(tmp_path / "a.jsonl", "\n".join(lines))).items.values == tuple(texts)


def test_a_table_without_a_line_of_names_is_suspected(tmp_path: Path) -> None:
    rows = "".join(f"film number {row} is no fun,{'positive' if row % 2 else 'negative'}\n" for row in range(8))
    path = _write(tmp_path / "a.csv", f"a stirring film,positive\n{rows}")
    data = read_dataset(path)
    assert any("'positive' has the same name as one of its labels" in note for note in data.notes)
    named = read_dataset(_write(tmp_path / "b.csv", "text,label\nno fun,negative\nfun,positive\n"))
    assert not any("same name" in note for note in named.notes)


def test_paths_that_lead_nowhere_are_counted_together(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", "image,label\nx/1.jpg,a\nx/2.jpg,b\nx/3.jpg,a\n")
    with pytest.raises(DataError, match=r"can be used: file not found \(3\)") as caught:
        read_dataset(path)
    assert "those in a table start from the folder that it lies in" in caught.value.hint


def test_a_quotation_mark_that_is_never_closed_is_named(tmp_path: Path) -> None:
    good = "".join(f"film number {row},{'yes' if row % 2 else 'no'}\n" for row in range(6))
    data = read_dataset(_write(tmp_path / "a.csv", f'text,label\n{good}"a fine film,yes\n{good}'))
    reason = "a quotation mark in it is never closed, and took the 7 lines to the end of the file"
    assert data.left_out == (LeftOut("row 7", reason),)
    assert len(data) == 6
