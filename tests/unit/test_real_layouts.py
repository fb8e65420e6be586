"""Data sets of files: a stub, a hole, a cut file and a broken line are told by name and line, whichever data set it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mmtheory.errors import DataError
from real.data import DATASETS
from real.data._samples import SampleDataset

FILED = sorted(name for name, kind in DATASETS.items() if issubclass(kind, SampleDataset))


@pytest.fixture(scope="module")
def doubles(tmp_path_factory):
    return {name: DATASETS[name].write_double(tmp_path_factory.mktemp(name)) for name in FILED}


@pytest.fixture
def copy(doubles, tmp_path):
    return lambda name: Path(shutil.copytree(doubles[name], tmp_path / name))


@pytest.mark.parametrize("name", FILED)
def test_a_stub_a_hole_and_a_cut_file_are_told(copy, name):
    root = copy(name)
    for victim in {p.suffix: p for p in DATASETS[name](root).files()}.values():
        whole = victim.read_bytes()
        cut = [whole[: len(whole) // 2]] if victim.suffix in {".jpg", ".wav", ".png"} else []
        for content in (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", b"", *cut):
            victim.write_bytes(content)
            with pytest.raises(DataError, match=victim.name):
                DATASETS[name](root).check()
        victim.write_bytes(whole)
        DATASETS[name](root).check()
        shutil.move(root, root.with_suffix(".kept"))
        shutil.copytree(root.with_suffix(".kept"), root)
        gone = (
            [p for p in victim.parent.iterdir() if p.suffix == ".jpg"]
            if "frame" in victim.name or victim.stem.isdigit()
            else [victim]
        )
        for path in gone:
            path.unlink()
        with pytest.raises(DataError):
            DATASETS[name](root).check()
        shutil.rmtree(root)
        shutil.move(root.with_suffix(".kept"), root)


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "sentence"),
    [
        ("crema-d", "train.csv", ",SAD", ",SADD", r"train.csv, line 3: expected a class among NEU"),
        ("crema-d", "train.csv", ",SAD", ",NEU", r"train.csv, line 3: expected the label in the name, SAD"),
        ("crema-d", "train.csv", "1001_DFA_SAD", "1009_DFA_SAD", r"expected 1009_DFA_SAD_XX.wav, which the lists name"),
        ("crema-d", "train.csv", "1001_DFA_HAP_XX,HAP", "1001_DFA_NEU_XX,NEU", r"line 2: expected every clip once"),
        ("crema-d", "test.csv", ",NEU", "", r"test.csv, line 1: expected 2 fields, found 1"),
        (
            "kinetics-sounds",
            "annotations/val.csv",
            "youtube_id",
            "id",
            r"val.csv, line 1: expected columns label,youtube_id",
        ),
        (
            "kinetics-sounds",
            "annotations/val.csv",
            "val000,1,11",
            "val000,one,11",
            r"line 3: expected a number of seconds",
        ),
        ("kinetics-sounds", "annotations/val.csv", "val000", "gone", r"expected 24 samples, found 23"),
        ("ave", "valSet.txt", "Accordion", "Accordeon", r"valSet.txt, line 1: expected a class among"),
        ("ave", "valSet.txt", "&good&0", "&good", r"valSet.txt, line 1: expected 5 fields, found 4"),
        ("vggsound", "vggsound.csv", ",train", ",dev", r"vggsound.csv, line 1: expected train or test, found 'dev'"),
        ("ucf101", "ucfTrainTestlist/classInd.txt", "2 ", "7 ", r"classInd.txt, line 2: expected '2 <Class>'"),
        (
            "ucf101",
            "ucfTrainTestlist/trainlist01.txt",
            "Archery/v_",
            "v_",
            r"trainlist01.txt, line 1: expected <Class>/<clip>",
        ),
        ("mvsa-single", "labelResultAll.txt", "1\tneutral", "1\tneutrl", r"line 3: expected a class among positive"),
        ("twitter2015", "dev.tsv", "\t2\t", "\t3\t", r"dev.tsv, line 4: expected a class among 0, 1, 2, found '3'"),
        (
            "iemocap",
            "Session2/dialog/EmoEvaluation/Ses02F_impro01.txt",
            "\tang\t",
            "\tmad\t",
            r"line 3: expected an emotion among",
        ),
        (
            "iemocap",
            "Session2/dialog/EmoEvaluation/Ses02F_impro01.txt",
            "\tang\t",
            "\t",
            r"line 3: expected \[start - end\]",
        ),
        (
            "iemocap",
            "Session2/dialog/transcriptions/Ses02F_impro01.txt",
            "F001 [",
            "F009 [",
            r"words of Ses02F_impro01_F001",
        ),
        (
            "mir-flickr",
            "mirflickr25k_annotations_v080/car_r1.txt",
            "3",
            "0",
            r"car_r1.txt, line 1: expected a picture 1 to 25000",
        ),
        (
            "ntu-60",
            "nturgb+d_skeletons/S001C001P001R001A001.skeleton",
            "0.00000 0.00000 0.00000 0.00000 0.00000 0.00000 0.00000 0.00000 2",
            "0 0",
            r"line 5: expected 12 numbers, found 5",
        ),
        (
            "nvgesture",
            "nvgesture_test_correct_cvpr2016_v2.lst",
            "label:1",
            "label:26",
            r"line 1: expected a label 1 to 25, found 26",
        ),
        (
            "nvgesture",
            "nvgesture_test_correct_cvpr2016_v2.lst",
            "depth:sk_depth:1:5",
            "",
            r"line 1: expected path:, depth:",
        ),
        (
            "mrhp",
            "clothing.rel.dev",
            '"upvotes": {"0": 0',
            '"upvotes": {"0": 7',
            r"rel.dev, record 0: expected a known product",
        ),
        ("mrhp", "clothing.rvw.dev", '"content"', '"text"', r"rvw.dev: expected columns review_id, content"),
        ("twitter2015", "dev.tsv", "$T$", "T", r"dev.tsv, line 2: expected a sentence with"),
    ],
)
def test_a_broken_line_is_told_with_its_number(copy, name, file, old, new, sentence):
    root = copy(name)
    raw = (root / file).read_bytes().decode()
    assert old in raw
    (root / file).write_bytes(raw.replace(old, new, 1).encode())
    with pytest.raises(DataError, match=sentence):
        DATASETS[name](root).check()


def test_lists_that_are_not_there_cost_their_split_alone(copy):
    root = copy("crema-d")
    for file in ("train.csv", "test.csv", "mmtheory-double.json"):
        (root / file).unlink()
    data = DATASETS["crema-d"](root)
    data.counts = {}
    assert set(data.check()["splits"]) == {"actor", "random"}
    with pytest.raises(DataError, match="expected the lists of split ogm"):
        data.codes("ogm")


def test_the_one_clip_whose_name_lacks_a_letter_is_read(copy):
    data = DATASETS["crema-d"](copy("crema-d"))
    row = data.index.ids.index("1004_DFA_SAD_X")
    assert (data.classes[data.index.y[row]], data.index.groups["actor"][row]) == ("SAD", "1004")


@pytest.mark.parametrize("spelled", ["HandstandPushups", "HandStandPushups"])
def test_a_class_that_is_spelled_in_two_ways_is_found_in_both(copy, spelled):
    root = copy("ucf101")
    for folder in ("jpegs_256", "tvl1_flow/u", "tvl1_flow/v"):
        for clip in list((root / folder).glob("v_HandstandPushups*")):
            clip.rename(clip.with_name(clip.name.replace("HandstandPushups", spelled)))
    assert DATASETS["ucf101"](root).check()["samples"] == 18
    for clip in list((root / "jpegs_256").glob("v_Hand*")):
        whole = root / "UCF-101" / "HandstandPushups" / f"{clip.name}.avi"
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.write_bytes(b"not decoded for the index")
        shutil.rmtree(clip)
    data = DATASETS["ucf101"](root)
    assert sum(Path(s.files["rgb"]).suffix == ".avi" for s in data.samples) == 6
    min((root / "UCF-101" / "HandstandPushups").iterdir()).unlink()
    with pytest.raises(DataError, match=r"UCF-101/HandstandPushups/v_HandstandPushups_g01_c01.avi or jpegs_256"):
        DATASETS["ucf101"](root).check()


def test_training_lists_number_their_classes_as_the_index_does(copy):
    root = copy("ucf101")
    path = root / "ucfTrainTestlist/trainlist02.txt"
    whole = path.read_text()
    for old, new, sentence in (
        ("c01.avi 1", "c01.avi 2", r"trainlist02.txt, line 1: expected a class of classInd.txt, found Archery 2"),
        ("c01.avi 1", "c01.avi", r"line 1: expected <Class>/<clip>.avi and its number"),
        ("Archery/v_Archery_g04", "Archery/v_Archery_g03", r"line 2: expected every clip once in split 2"),
        ("Archery/v", "Arching/v", r"line 1: expected a class of classInd.txt, found Arching 1"),
    ):
        assert old in whole
        path.write_text(whole.replace(old, new, 1))
        with pytest.raises(DataError, match=sentence):
            DATASETS["ucf101"](root).check()


def test_hidden_twins_in_the_release_of_iemocap_are_passed_over_and_a_lost_evaluation_is_told(copy):
    root = copy("iemocap")
    folder = root / "Session3/dialog/EmoEvaluation"
    (folder / "._Ses03F_impro01.txt").write_bytes(b"\0\5\26\7[no text")
    assert DATASETS["iemocap"](root).check()["samples"] == 25
    (folder / "Ses03F_impro01.txt").unlink()
    with pytest.raises(DataError, match=r"Session3/dialog/EmoEvaluation/Ses03F_impro01.txt: expected a file"):
        DATASETS["iemocap"](root).check()


def test_what_a_skeleton_does_not_use_may_be_lost_and_its_places_may_not(copy):
    root = copy("ntu-60")
    path = root / "nturgb+d_skeletons/S001C001P001R001A001.skeleton"
    lines = path.read_text().splitlines()
    fields = lines[4].split()
    for place, sentence in ((5, None), (1, "line 5: expected finite numbers, found nan")):
        path.write_text("\n".join([*lines[:4], " ".join([*fields[:place], "nan", *fields[place + 1 :]]), *lines[5:]]))
        if sentence is None:
            DATASETS["ntu-60"](root).check()
            continue
        with pytest.raises(DataError, match=sentence):
            DATASETS["ntu-60"](root).check()
    path.write_text("\n".join([*lines[:3], "24", *lines[4:]]))
    with pytest.raises(DataError, match="line 4: expected 25 joints, found 24"):
        DATASETS["ntu-60"](root).check()


def test_kinetics_lists_say_their_own_part(copy):
    root = copy("kinetics-sounds")
    path = root / "annotations/val.csv"
    path.write_text(path.read_text().replace(",val\n", ",train\n", 1))
    with pytest.raises(DataError, match=r"val.csv, line 2: expected val, the file's part, found 'train'"):
        DATASETS["kinetics-sounds"](root).check()


def test_kinetics_lists_with_a_column_of_licences_are_read_too(copy):
    root = copy("kinetics-sounds")
    for path in (root / "annotations").iterdir():
        head, *rest = path.read_text().splitlines()
        path.write_text("\n".join([f"{head},is_cc", *(f"{row},0" for row in rest)]) + "\n")
    assert DATASETS["kinetics-sounds"](root).check()["samples"] == 24
