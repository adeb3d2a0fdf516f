"""The figures are those that were agreed on, and every route below /api/v1 has its kind of work."""

from server.accounts.visitor import Tier
from server.limits.policy import DAY, MINUTE, POLICIES, Work
from server.routes import table


def amounts(work: Work) -> list[dict[int, int] | None]:
    """By tier: window in seconds → how many."""
    found = [POLICIES[work][tier] for tier in sorted(Tier)]
    return [
        None if policy is None else {rate.seconds: rate.amount for rate in policy.rates} for policy in found
    ]


def test_chat_is_ten_thirty_a_hundred_and_no_limit_and_anonymous_also_five_hundred_a_day() -> None:
    assert amounts(Work.CHAT) == [{MINUTE: 10, DAY: 500}, {MINUTE: 30}, {MINUTE: 100}, None]


def test_saving_is_five_personalizing_three_and_all_else_ten_whatever_the_tier() -> None:
    assert amounts(Work.SAVE) == [{MINUTE: 5}] * 4
    assert amounts(Work.PERSONALIZE) == [{MINUTE: 3}] * 4
    assert amounts(Work.OTHER) == [{MINUTE: 10}] * 4


def test_every_kind_of_work_says_what_every_tier_may_and_only_mail_fails_closed() -> None:
    assert {work: set(by_tier) for work, by_tier in POLICIES.items()} == {work: set(Tier) for work in Work}
    policies = [policy for by_tier in POLICIES.values() for policy in by_tier.values() if policy is not None]
    assert {policy.name for policy in policies if policy.fails_closed} == {"sign_up"}
    assert all(rate.amount > 0 and rate.seconds > 0 for policy in policies for rate in policy.rates)


def test_every_route_below_api_v1_does_some_kind_of_work_and_no_other_does() -> None:
    routes = table(test_mode=True)
    assert {route.path for route in routes if route.work is not None} == {
        route.path for route in routes if route.path.startswith("/api/v1/")
    }
