import pytest

from generations.sandbox.directives import DirectiveError, Fault, parse, strip


def test_directives_of_several_blocks_combine() -> None:
    prompt = "A fox [[sandbox: run=422:content_policy_violation; webhook=none,]] runs [[SANDBOX: slow=2]]"
    assert parse(prompt) == {
        "run": Fault("422:content_policy_violation"),
        "webhook": Fault("none"),
        "slow": Fault("2"),
    }


def test_a_star_counts_strikes() -> None:
    assert parse("[[sandbox: result=504*2]]")["result"] == Fault("504", 2)


def test_webhook_words_combine() -> None:
    assert parse("[[sandbox: webhook=duplicate,late:2]]")["webhook"].words == {"duplicate": "", "late": "2"}


def test_stripping_leaves_only_what_the_member_meant() -> None:
    assert strip("A fox [[sandbox: stuck]] runs\n[[sandbox: seconds=2]]") == "A fox runs"


def test_a_prompt_without_directives_has_none() -> None:
    assert parse("A fox [[runs]] sandbox: run=500") == {}


@pytest.mark.parametrize(
    "word",
    [
        "explode=1", "run=200", "run=oops", "submit=", "drop=maybe", "slow=-1", "seconds=soon", "webhook=maybe",
        "webhook=late:soon", "download=slow:x", "result=504*x", "stuck=often", "download=200", "cancel=",
    ],
)  # fmt: skip
def test_what_is_not_in_the_table_is_refused(word: str) -> None:
    with pytest.raises(DirectiveError):
        parse(f"[[sandbox: {word}]]")
