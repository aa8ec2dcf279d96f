import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from markupsafe import Markup

from multinas_ray.__main__ import main
from multinas_ray.errors import ConfigError, StateError
from multinas_ray.latency import LatencyValidation
from multinas_ray.report import drawings, write_report
from multinas_ray.report.writing import render_report
from multinas_ray.runs import (
    architectures_schema,
    candidates_schema,
    format_count,
    load_run,
    primary_metric,
    write_training,
)
from multinas_ray.storage import make_table, write_parquet
from tests.report.pages import checked
from tests.support.narrow import present
from tests.support.records import edit_document
from tests.support.synthetic_run import COEFFICIENTS, NUM_CATEGORIES

NAN = float("nan")
EVIL = "<script>alert('x')</script>&\"<b>"
HEADINGS = ["networks", "pareto", "blocks", "convergence", "maps", "cost", "choice", "training", "about"]


def layer(kernel_size, channels_in=8, channels_out=8, stride=1):
    return {"in_channels": channels_in, "out_channels": channels_out, "kernel_size": kernel_size, "stride": stride}


def block(number, kernel_size=3, expansion=1, stride=1):
    layers = [layer(1, 8, 8 * expansion), layer(kernel_size, 8 * expansion, 8 * expansion, stride)]
    return {"type": "Block", "name": f"b{number}_k{kernel_size}", "layers": layers}


def space_of(counts):
    """A space as a run records it: kernels 3 and 5, the last choice left out but at the first position."""
    positions = []
    for place, count in enumerate(counts):
        stride = 2 if place == 0 else 1
        blocks = [block(number, (3, 5)[number % 2], 1 + number, stride) for number in range(count)]
        if place:
            blocks[-1] = {"type": "Block", "name": "skip", "layers": []}
        positions.append({"name": f"stage{place // 3 + 1}_{place % 3 + 1}", "blocks": blocks})
    return {"name": "mine", "fingerprint": "f" * 64, "positions": positions}


def change_config(run, **changes):
    edit_document(run / "config.json", **changes)


@pytest.fixture
def run(finished_run, tmp_path):
    """A finished run whose configuration tells of its space."""
    copy = shutil.copytree(finished_run, tmp_path / "copy")
    change_config(copy, name="my run", space=space_of(NUM_CATEGORIES), versions={"torch": "2.9"}, settings={"seed": 7})
    return copy


@pytest.fixture
def undrawn(monkeypatch):
    """Figures take most of the time: without them, where a test looks at something else."""
    nothing = drawings.Drawing(Markup(""), Markup(""))
    monkeypatch.setattr(drawings, "_drawn", lambda prefix, label, draw: nothing)


@pytest.fixture(scope="module")
def finished_page(finished_run, tmp_path_factory):
    copy = shutil.copytree(finished_run, tmp_path_factory.mktemp("pages") / "copy")
    change_config(copy, name="my run", space=space_of(NUM_CATEGORIES), versions={"torch": "2.9"}, settings={"seed": 7})
    return checked(render_report(str(copy)))


def columns_of(table):
    """A frame's columns as they are written."""
    return {name: [None if each is None or each != each else each for each in table[name]] for name in table}


def rows_of(page, section):
    html = present(re.search(rf'<section id="{section}">.*?</section>', page.html, re.DOTALL))[0]
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", html, re.DOTALL)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]


def test_a_finished_run_is_told_in_full(finished_page, finished_run):
    page = finished_page
    assert [attrs["id"] for attrs in page.all("section")] == HEADINGS
    assert page.attributes("href")[1:] == [f"#{name}" for name in HEADINGS] + page.attributes("href")[10:]
    assert "One search for 4 networks that weigh accuracy against parameters, in the space mine." in page.text
    assert "4 networks chosen" in page.text.replace("networks chosen 4", "4 networks chosen")
    networks = load_run(finished_run).architectures
    table = rows_of(page, "networks")
    assert [re.sub("<.*?>", "", cell) for cell in table[0]] == [
        "#", "coefficient", "parameters", "multiply-adds", "validation", "test, inherited", "test, retrained", "origin",
    ]  # fmt: skip
    for row, told in zip(networks.to_dict("records"), table[1:], strict=True):
        assert told[0] == str(row["network"])
        assert told[1] == f"{row['coefficient']:.3g}"
        columns = ("supernet_accuracy", "supernet_test_accuracy", "retrained_accuracy")
        assert told[4:] == [*(f"{100 * row[name]:.2f} %" for name in columns), "mode"]


def test_each_figure_comes_wide_and_narrow(finished_page):
    for layout in ("wide-only", "narrow-only"):
        assert len(finished_page.all("div", **{"class": layout})) == 2  # Pareto picture, convergence
    assert len(finished_page.all("svg")) == 4
    boxes = [tuple(map(float, attrs["viewbox"].split()[2:])) for attrs in finished_page.all("svg")]
    assert [width < 400 for width, _ in boxes] == [False, True] * 2
    assert not any({"width", "height"} & set(attrs) for attrs in finished_page.all("svg"))
    for label in ("Expected parameters", "(millions)", "Entropy (nats)", "Effective sample size"):
        assert finished_page.section("convergence").count(label) == 2
    for label in ("Parameters (millions)", "Error on validation images (%)", "Error on test images (%)"):
        assert label in finished_page.section("pareto")


def test_networks_are_drawn_block_by_block(finished_page, finished_run):
    architectures = load_run(finished_run).architectures["architecture"]
    rows = rows_of(finished_page, "blocks")
    assert [re.sub("<.*?>", "", cell) for cell in rows[0][1:]] == ["stage1", "stage2"]
    assert re.sub("<.*?>", "", rows[1][1]) == "1 ÷2"
    for architecture, cells in zip(architectures, rows[2:], strict=True):
        for place, (choice, cell) in enumerate(zip(architecture, cells[1:], strict=True)):
            is_skip = place > 0 and choice == NUM_CATEGORIES[place] - 1
            assert ('class="unseen"' in cell) == is_skip
            assert re.sub("<.*?>", "", cell) == ("skip" if is_skip else f"b{choice}_k{(3, 5)[choice % 2]}")
            assert is_skip or f"tone-{choice % 2}" in cell
    assert "kernel 3 kernel 5" in finished_page.section("blocks")


def test_heat_maps_show_the_newest_probabilities(finished_page, finished_run):
    newest = load_run(finished_run).distributions.tail(4).set_index("distribution")
    html = present(re.search(r'<section id="maps">.*?</section>', finished_page.html, re.DOTALL))[0]
    maps = re.findall(r"<figure>.*?</figure>", html, re.DOTALL)
    assert len(maps) == 4
    for network, text in enumerate(maps):  # from small to large: coefficients fall
        told = sorted(float(each) for each in re.findall(r"--p: ([\d.]+)", text))
        probs = np.sort(np.concatenate(list(newest["probs"].loc[3 - network])))
        np.testing.assert_allclose(told, probs, atol=6e-4)
        assert text.count("<b>•</b>") == len(NUM_CATEGORIES)
        assert f"coefficient {COEFFICIENTS[3 - network]:.3g}" in text


def test_nothing_of_a_run_becomes_markup(run, undrawn):
    space = space_of(NUM_CATEGORIES)
    space["name"] = space["positions"][1]["name"] = space["positions"][2]["blocks"][1]["name"] = EVIL
    change_config(run, name=EVIL, space=space, data={"source": EVIL}, versions={EVIL: EVIL}, settings={EVIL: EVIL})
    edit_document(run / "sessions" / "0000.json", host=EVIL)
    page = checked(render_report(str(run)))
    assert "<script" not in page.html
    for section in ("blocks", "maps", "about"):
        assert EVIL in page.section(section)
    assert page.text.count(EVIL) >= 8


def test_equal_networks_and_budgets_are_told(run, undrawn):
    table = load_run(run).architectures
    table.loc[2, "architecture"] = None
    table["architecture"] = [table["architecture"].iloc[1] if each is None else each for each in table["architecture"]]
    table["limits"] = ['{"params": 888000000.0}', None, None, None]
    table["target"] = [8.88e8, 7.77e8, NAN, NAN]
    schema = architectures_schema(["params", "flops"])
    write_parquet(run / "architectures.parquet", make_table(schema, columns_of(table)))
    section = checked(render_report(str(run))).section("networks")
    assert section.count("same as #1") == 1
    assert "budget" in section
    assert section.count("at most 888 M parameters") == 1
    assert section.count("777 M") == 1
    assert section.count("888 M") == 1  # the budget is the target


def candidates_of(networks):
    mode: list[int] = list(networks["architecture"].iloc[0])
    row = {
        "network": 0, "origin": "drawn", "architecture": mode,
        "architecture_readable": "the mode", "params": 1.0, "flops": 2.0, "complexity": 0.5, "evaluation_id": None,
        "recorded_loss": None, "rung": 2, "images": 500, "loss": 0.25, "accuracy": 0.75,
        "objective": 0.5, "combined_rank": 1.0, "within_budget": True, "chosen": False, "reason": "worse",
    }  # fmt: skip
    other = mode.copy()
    other[0] = (other[0] + 1) % NUM_CATEGORIES[0]
    chosen = {
        **row,
        "origin": "mode",
        "chosen": True,
        "objective": 0.4,
        "combined_rank": 0.5,
        "reason": "chosen: least",
    }
    unmet = {**row, "network": 1, "within_budget": False, "combined_rank": None, "reason": "over budget: 3 M params"}
    early = {**row, "rung": 1, "images": 64, "architecture_readable": "the early one", "architecture": [0] * len(mode)}
    another = {**row, "architecture": other, "architecture_readable": "another"}
    rows = [another, chosen, unmet, early, {**early, "origin": "slice"}]
    return {name: [each[name] for each in rows] for name in row}


@pytest.mark.parametrize(("inputs", "samples"), [("float32[3, 8, 8]", "images"), ("float32[1, 64]", "samples")])
def test_another_metric_and_other_samples_are_told_by_their_names(run, undrawn, inputs, samples):
    task = {"metrics": {"IoU": {"function": "torchmetrics.JaccardIndex"}}, "primary": "IoU"}
    metric = primary_metric({"task": task, "space": {"inputs": inputs}})
    assert (metric.name, metric.is_share, metric.samples) == ("IoU", False, samples)
    columns = candidates_of(load_run(run).architectures)
    write_parquet(run / "candidates.parquet", make_table(candidates_schema(["params", "flops"]), columns))
    change_config(run, task=task, space={**space_of(NUM_CATEGORIES), "inputs": inputs})
    page = checked(render_report(str(run)))
    text = f"{page.text} {' '.join(page.attributes('title'))}"
    assert f"IoU on all validation {samples}" in text
    assert f"The test {samples} were not used" in text
    assert f" {samples} in all." in page.section("choice")
    assert ("images" in text) == (samples == "images")
    assert "accurac" not in text
    assert "%" not in page.section("networks")


def test_candidates_say_why(run, undrawn):
    columns = candidates_of(load_run(run).architectures)
    write_parquet(run / "candidates.parquet", make_table(candidates_schema(["params", "flops"]), columns))
    page = checked(render_report(str(run)))
    section = page.section("choice")
    assert section.index("the mode mode") < section.index("with stage1_1 b") < section.index("over budget: 3 M params")
    number = (
        "Network #0: 4 candidates (2 fresh draw, 1 mode, 1 from the slice), of which 2 were evaluated on all images"
    )
    assert number in section
    assert "Goal 1, met by no candidate: 1 candidate (1 fresh draw)" in section
    assert "the early one" not in section
    spent = "Evaluated for the choice: 3 networks on 64 validation images, 2 networks on 500 validation images; 1.19 k"
    assert spent in section
    assert len(page.all("tr", **{"class": "chosen"})) == 1


def write_files(run):
    for network in (0, 2):
        folder = run / "networks" / str(network) / "export"
        folder.mkdir(parents=True)
        files = {"model.onnx": {"max_abs_difference": 3e-6}, "model.pt2": {"max_abs_difference": 0.0}}
        files["model_int8.onnx"] = {"max_abs_difference": 0.25, "test_accuracy": 0.9375}
        (folder / "parity.json").write_text(json.dumps({"files": files}))
        unknown = dict.fromkeys(("validation_loss", "validation_accuracy"))
        same = {"images_per_second": 9.0, "seconds": 1.0, **unknown}
        rows = [{"epoch": n, "learning_rate": 0.3 - 0.1 * n, "train_loss": 4.0 - n, **same} for n in (1, 2, 3)]
        write_training(folder.parent, rows)
    predicted, measured = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.1, 2.2, 3.3, 3.2])
    texts, spread = ("a", "b", "c", "d"), np.full(4, 0.1)
    architectures = np.zeros((4, len(NUM_CATEGORIES)), dtype=np.int64)
    validation = LatencyValidation(architectures, texts, predicted, measured, spread, measured, measured)
    validation.write(run / "latency_validation.parquet")


def test_exports_trainings_and_latencies_are_shown_where_there_are_any(run, finished_page, monkeypatch):
    write_files(run)
    for name in ("pareto_drawing", "convergence_drawing"):  # seen above
        monkeypatch.setattr(drawings, name, lambda run, networks: None)
    page = checked(render_report(str(run)))
    assert page.section("networks").count("onnx 3e-06 pt2 0 int8 onnx 0.25, 93.75% right") == 2
    training = page.section("training")
    assert training.count("Training loss") == training.count("Learning rate") == 2  # wide and narrow
    assert "Validation loss" not in training
    latency = page.section("latency")
    assert "between predicted and measured latency of 4 networks, mean error 13.1%" in latency
    assert "Measured, whole network (ms)" in latency
    assert "#latency" in page.attributes("href")
    assert "#latency" not in finished_page.attributes("href")
    assert "No network has been retrained yet." in finished_page.section("training")


def test_what_cannot_be_read_is_told_and_left_out(run, undrawn):
    write_files(run)
    (run / "networks" / "0" / "export" / "parity.json").write_text("{")
    (run / "networks" / "2" / "training.parquet").write_bytes(b"PAR1")
    (run / "latency_validation.parquet").write_bytes(b"PAR1")
    page = checked(render_report(str(run)))
    assert page.text.count("Left out: ") == 3
    assert "parity.json" in page.text
    assert page.section("networks").count("int8 onnx") == 1  # that of network 2, whose own file can be read


def test_a_running_search_is_told_as_far_as_it_came(make_run, tmp_path):
    recorder = make_run(tmp_path / "run").start()
    for number in range(6):
        recorder.step(number)
    recorder.record.flush()
    page = checked(render_report(str(tmp_path / "run")))
    assert "The search has not ended: 48 evaluations of 320 planned are recorded" in page.text
    assert "The networks are not chosen yet." in page.section("networks")
    assert len(page.all("svg")) == 4
    assert "#3" in page.section("convergence")
    assert page.html.count('class="map"') == 4  # without a described space the positions are numbered
    assert "Evaluations 48 48 to 192" in page.section("cost")


def test_a_run_without_any_record_is_told(make_run, tmp_path):
    make_run(tmp_path / "run").start()
    page = checked(render_report(str(tmp_path / "run")))
    assert page.all("svg") == []
    texts = (
        "The networks are not chosen yet.",
        "No evaluation has succeeded yet.",
        "No update is recorded yet.",
        "Nothing has been evaluated yet.",
    )
    assert all(text in page.text for text in texts)


def test_a_run_of_which_every_evaluation_failed_is_told(finished_run, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    copy = shutil.copytree(finished_run, tmp_path / "copy")
    (copy / "architectures.parquet").unlink()
    for file in (copy / "evaluations").glob("*.parquet"):
        table = pq.read_table(file)
        place = table.schema.get_field_index("loss")
        failed = table.set_column(place, table.schema.field(place), pa.array([float("inf")] * len(table)))
        pq.write_table(failed, file)
    assert "No evaluation has succeeded yet." in checked(render_report(str(copy))).section("pareto")


def test_another_family_has_its_own_networks(run, undrawn):
    folder = run / "families" / "small"
    folder.mkdir(parents=True)
    one = load_run(run).architectures.iloc[:1]
    schema = architectures_schema(["params", "flops"])
    write_parquet(folder / "architectures.parquet", make_table(schema, columns_of(one)))
    place = write_report(run, label="small")
    assert place.path == str(folder / "report.html")
    page = checked((folder / "report.html").read_text())
    assert "family small" in page.text
    assert len(rows_of(page, "networks")) == 2
    assert "goal 0" in page.section("maps")  # the networks are not those of the four distributions
    with pytest.raises(StateError, match="has no family 'large', its families are: small"):
        write_report(run, label="large")
    with pytest.raises(ConfigError, match="the label of a family"):
        write_report(run, label="../up")


def test_the_command_writes_beside_the_run_or_where_it_is_told(run, undrawn, tmp_path, capsys):
    assert main(["report", str(run)]) == 0
    assert main(["report", str(run), "--output", str(tmp_path / "new" / "a.html")]) == 0
    assert capsys.readouterr().out.split() == [str(run / "report.html"), str(tmp_path / "new" / "a.html")]
    assert (run / "report.html").read_bytes() == (tmp_path / "new" / "a.html").read_bytes()
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == ["a.html"]
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert "there is no run at" in capsys.readouterr().err


@pytest.mark.slow
def test_a_report_needs_neither_torch_nor_ray_and_no_pyplot(run, tmp_path):
    script = (
        "import sys; from multinas_ray.report import write_report; write_report(*sys.argv[1:2]); "
        "assert not {'torch', 'ray', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script, str(run)], check=True)


def test_targets_are_told_with_the_distributions_that_are_held_near_them(run, undrawn, monkeypatch):
    assert "Dotted lines" not in render_report(str(run))
    loaded = load_run(str(run))
    targets = 0.8 - 0.2 * loaded.distributions["distribution"]
    targeted = replace(loaded, distributions=loaded.distributions.assign(target=targets, coefficient=NAN))
    monkeypatch.setattr("multinas_ray.report.writing.load_run", lambda path: targeted)
    page = checked(render_report(str(run)))
    _, scale = present(targeted.complexity_cost)
    assert "Dotted lines are the targets." in page.text
    for k in range(4):
        assert f"target {format_count((0.8 - 0.2 * k) * scale)}, entropy" in page.text
