"""The numbers of the images in the record and in the report."""

from multinas_ray.data import DataConfig, image_counts, load_splits
from multinas_ray.report.images import images_of
from multinas_ray.runs import read_images, write_images
from tests.support.image_trees import write_tree


def test_found_used_and_left_out_stand_in_the_record_and_in_the_report(tmp_path):
    write_tree(tmp_path / "photos", {"[red] ants": 10, "bees": 20}, size=(8, 8))
    (tmp_path / "photos" / "bees" / "notes.txt").write_text("")
    splits = load_splits(DataConfig(source="folder", path=str(tmp_path / "photos")))
    assert images_of(tmp_path) == (None, ())
    write_images(tmp_path, image_counts(splits))
    recorded = read_images(tmp_path)
    assert recorded is not None
    assert sum(map(sum, recorded["used"].values())) == 30
    assert [(each["class_name"], each["count"]) for each in recorded["left_out"]] == [("bees", 1)]
    table, unreadable = images_of(tmp_path)
    assert unreadable == ()
    assert table is not None
    assert [row[:2] for row in table.rows] == [["[red] ants", "10"], ["bees", "21"], ["all 2 classes", "31"]]
    assert table.rows[1][-1] == "1 of kind .txt"
    assert [column.name for column in table.columns[2:5]] == ["train", "validation", "test"]


def test_many_classes_have_one_row(tmp_path):
    counts = {"classes": [f"c{n}" for n in range(1000)], "used": {"train": [2] * 1000}, "left_out": [], "notes": ["x"]}
    write_images(tmp_path, counts)
    table, _ = images_of(tmp_path)
    assert table is not None
    assert table.rows == [["all 1,000 classes", "2,000", "2,000", ""]]
    assert table.caption == "X."


def test_damaged_numbers_are_told_and_the_report_goes_on(tmp_path):
    (tmp_path / "images.json").write_text("{")
    table, (problem,) = images_of(tmp_path)
    assert table is None
    assert "images.json is damaged" in problem
