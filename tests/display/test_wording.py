"""Words for tokens agree with the numbers of a result."""

from hf_diffmask.display.wording import dropped_at
from tests.display.helpers import make
from tests.helpers import STATE_NAMES


def test_dropped_at_is_the_first_state_that_masks():
    token = make([("film", [0.9, 0.5, 0.1])])["tokens"][0]
    assert dropped_at(token, STATE_NAMES) == "block.0.input"
    assert dropped_at(make([("film", [0.9, 0.8, 0.51])])["tokens"][0], STATE_NAMES) is None


def test_a_token_is_dropped_where_it_does_not_come_back():
    names = ["a", "b", "c"]
    found = [dropped_at({"states": states}, names) for states in ([0.1, 0.9, 0.9], [0.9, 0.1, 0.2], [0.1, 0.2, 0.3])]
    assert found == [None, "b", "a"]
