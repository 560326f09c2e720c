from __future__ import annotations

import pytest
from absl import flags

from object_detection_ext.flag_parsing import parse_flags, usage_error


def _flag_values() -> flags.FlagValues:
    values = flags.FlagValues()
    flags.DEFINE_string("pipeline_config_path", None, "Path of the config.", flag_values=values)
    flags.DEFINE_integer("num_train_steps", None, "Steps.", flag_values=values)
    flags.DEFINE_boolean("use_tpu", False, "On a TPU.", flag_values=values)
    flags.mark_flag_as_required("pipeline_config_path", values)
    return values


@pytest.mark.parametrize("word", ["--help", "-h", "-help", "-?", "--helpfull"])
def test_help_needs_no_required_flag_and_lists_only_own_flags(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse_flags(_flag_values(), [word], "Trains.\n\nMore words.")
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "Trains." in text and "More words." in text
    assert "--pipeline_config_path\n      Path of the config. (required)" in text
    assert "--[no]use_tpu" in text and "only_check_args" not in text


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        pytest.param([], "required: --pipeline_config_path", id="nothing given"),
        pytest.param(["--pipline_config_path=x"], "unknown flag --pipline_config_path; did you mean --pipeline_config_path?", id="typo"),
        pytest.param(["--pipeline_config_path"], "Missing value for flag --pipeline_config_path", id="no value"),
        pytest.param(["--pipeline_config_path=x", "--num_train_steps=ten"], "--num_train_steps=ten", id="not a number"),
        pytest.param(["--pipeline_config_path=x", "--use_tpu=maybe"], "--use_tpu=maybe", id="not a boolean"),
        pytest.param(["--pipeline_config_path=x", "--zzz"], "unknown flag --zzz (", id="nothing near"),
        pytest.param(["--flagfile=/no/such"], "/no/such", id="flag file absent"),
    ],
)
def test_a_wrong_flag_is_one_line_and_exit_code_2(argv: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse_flags(_flag_values(), argv, "Trains.")
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert words in error


def test_values_positionals_and_logging_flags() -> None:
    values = _flag_values()
    argv = ["--alsologtostderr", "-v", "1", "--pipeline_config_path", "a.config", "rest", "--num_train_steps=7", "--stderrthreshold=info"]
    assert parse_flags(values, argv, "Trains.") == ["rest"]
    assert (values["pipeline_config_path"].value, values["num_train_steps"].value, values["use_tpu"].value) == ("a.config", 7, False)


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["--use_tpu"], True),
        (["--nouse_tpu"], False),
        (["--use_tpu", "False"], False),
        (["--use_tpu", "true"], True),
        (["--use_tpu=0"], False),
        (["--use_tpu", "--num_train_steps=3"], True),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_boolean_flags_take_their_value_as_the_next_word(words: list[str], value: bool) -> None:
    values = _flag_values()
    assert parse_flags(values, [*words, "--pipeline_config_path=x"], "Trains.") == []
    assert values["use_tpu"].value is value


def test_two_scripts_do_not_see_each_other() -> None:
    parse_flags(_flag_values(), ["--pipeline_config_path=x"], "Trains.")
    second = _flag_values()
    parse_flags(second, ["--pipeline_config_path=y"], "Trains.")
    assert second["pipeline_config_path"].value == "y"
    assert "num_train_steps" not in flags.FLAGS


def test_usage_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        usage_error("two\nlines")
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: two lines (--help lists the flags)\n"
