"""Two orders become one: which passages come first, and what they score then."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.chat.extract import THRESHOLD, drafted
from server.chat.hybrid import K, fused, reciprocal_ranks, score_of
from server.chat.models import Question
from server.chat.passages import Passage
from server.chat.ranking import ranked
from server.chat.retrieval import Found
from server.chat.vectors import Near

names = st.lists(st.sampled_from("abcdefghij"), unique=True)
similarities = st.floats(0, 0.99)
WEIGHTS = {"walru": 2.0, "badger": 1.0, "otter": 0.5}


def passage(name: str, text: str = "") -> Passage:
    return Passage(f"{name}-0", name, f"{name}.md", text or f"Of the {name}.")


@st.composite
def situations(draw: st.DrawFn) -> tuple[Found, list[Near], float]:
    """Passages that hold some words, and how near they are; some were found by one of the two only."""
    words = st.lists(st.sampled_from(["walrus", "badger", "otter", "vole", "sits"]), min_size=1, max_size=12)
    shelf = [passage(name, " ".join(draw(words))) for name in draw(names)]
    by_words = [one for one in shelf if draw(st.booleans())]
    near = [Near(one, draw(st.floats(-1, 1))) for one in shelf if draw(st.booleans())]
    return Found(by_words, WEIGHTS), near, draw(similarities)


@given(first=names, second=names)
def test_the_order_does_not_depend_on_which_ranking_comes_first(first: list[str], second: list[str]) -> None:
    assert reciprocal_ranks([first, second]) == reciprocal_ranks([second, first])


@given(ranking=names)
def test_a_ranking_alone_keeps_its_order(ranking: list[str]) -> None:
    worth = reciprocal_ranks([ranking, []])
    assert sorted(ranking, key=lambda name: -worth[name]) == ranking


@given(first=names, second=names)
def test_what_is_first_in_both_is_first(first: list[str], second: list[str]) -> None:
    worth = reciprocal_ranks([["z", *first], ["z", *second]])
    assert all(worth["z"] > other for name, other in worth.items() if name != "z")


@given(first=names, second=names)
def test_what_is_ahead_in_both_is_ahead(first: list[str], second: list[str]) -> None:
    worth = reciprocal_ranks([first, second])
    for one in set(first) & set(second):
        for other in set(first) & set(second):
            if first.index(one) < first.index(other) and second.index(one) < second.index(other):
                assert worth[one] > worth[other]


def test_it_is_the_formula_of_the_paper() -> None:
    worth = reciprocal_ranks([["a", "b"], ["b", "c"]])
    assert worth == pytest.approx({"a": 1 / (K + 1), "b": 1 / (K + 1) + 1 / (K + 2), "c": 1 / (K + 2)})


@given(cosine=st.floats(0, 1), similarity=similarities)
def test_a_cosine_that_is_near_enough_scores_as_what_bears_on_the_question(
    cosine: float, similarity: float
) -> None:
    assert score_of(similarity, similarity) == THRESHOLD
    assert score_of(1.0, similarity) == pytest.approx(1.0)
    if cosine >= similarity:
        assert THRESHOLD <= score_of(cosine, similarity) <= 1.0 + 1e-9


@given(situation=situations())
def test_scores_lie_between_0_and_1_and_fall(situation: tuple[Found, list[Near], float]) -> None:
    scores = [one.score for one in fused(*situation)]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)


@given(situation=situations())
def test_no_passage_comes_twice_and_each_bears_on_the_question(
    situation: tuple[Found, list[Near], float],
) -> None:
    _, near, similarity = situation
    cosines = {one.passage.id: one.cosine for one in near}
    found = fused(*situation)
    assert len({one.id for one in found}) == len(found)
    for one in found:
        assert one.matched or cosines[one.id] >= similarity
        assert (one.nearness > 0) == (cosines.get(one.id, -1.0) >= similarity)


@given(situation=situations())
def test_the_best_bears_on_the_question_if_any_does(situation: tuple[Found, list[Near], float]) -> None:
    found, near, similarity = situation
    alone = ranked(found.candidates, found.weights)
    both = fused(found, near, similarity)
    if (alone and alone[0].score >= THRESHOLD) or any(one.cosine >= similarity for one in near):
        assert both[0].score >= THRESHOLD


@given(situation=situations())
def test_where_nothing_is_near_enough_the_order_is_that_of_words_alone(
    situation: tuple[Found, list[Near], float],
) -> None:
    found, near, similarity = situation
    far = [Near(one.passage, min(one.cosine, similarity - 0.001)) for one in near]
    assert fused(found, far, similarity) == ranked(found.candidates, found.weights)
    assert fused(found, [], similarity) == ranked(found.candidates, found.weights)


@given(situation=situations())
def test_the_order_in_which_things_were_found_does_not_matter_where_they_differ(
    situation: tuple[Found, list[Near], float],
) -> None:
    found, near, similarity = situation
    turned = fused(Found(found.candidates[::-1], found.weights), near[::-1], similarity)
    told = fused(found, near, similarity)
    assert {one.id: one.nearness for one in told} == {one.id: one.nearness for one in turned}


def test_what_words_found_best_is_told_though_all_others_are_nearer() -> None:
    best = passage("best", "The walrus and the badger met an otter.")
    others = [passage(f"other{number}", "An otter " + "sits " * number) for number in range(2, 12)]
    near = [Near(one, 0.6 - number / 100) for number, one in enumerate(others)]
    near.append(Near(best, 0.4))  # not near enough, and ranked all the same
    found = fused(Found([*others, best], WEIGHTS), near, 0.5)
    # Not last, as it would be if only those that are near enough had a place in the order by meaning.
    assert [one.id for one in found].index(best.id) < 6
    draft = drafted(Question(message="walrus badger otter"), found)
    assert draft is not None
    assert draft.cited()[0].id == best.id
    assert "".join(draft.told()).startswith(best.text)


def test_what_only_its_meaning_found_has_the_words_that_it_holds() -> None:
    held, foreign = passage("held", "An otter sits."), passage("foreign", "Refunds take a week.")
    found = {one.id: one for one in fused(Found([], WEIGHTS), [Near(foreign, 0.9), Near(held, 0.8)], 0.5)}
    assert found[held.id].matched == {"otter": 0.5}
    assert found[foreign.id].matched == {}
    assert found[foreign.id].score == pytest.approx(score_of(0.9, 0.5))
