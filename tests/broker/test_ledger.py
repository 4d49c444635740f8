"""The ledger: whatever a sender does, every number is in the log once, in order, or known to be lost."""

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.ledger import MAX_SEQ, Acceptance, Account, Ledger

ranges = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 12)), max_size=40)


@settings(max_examples=300, deadline=None)
@given(ranges)
def test_numbers_are_appended_once_and_in_order_whatever_comes(batches: list[tuple[int, int]]) -> None:
    account, log = Account(), []
    for first, count in batches:
        numbers = range(first, first + count)
        outcome, known = account.judge(first, first + count), account.known(first, first + count)
        assert known == len([number for number in numbers if number in log])
        if outcome is Acceptance.REWIND:
            assert first > len(log) + 1
        elif outcome is Acceptance.KNOWN:
            assert set(numbers) <= set(log)
        else:
            log += numbers[known:]
            account.advance(first + count)
        assert log == list(range(1, account.next_seq))


def test_a_batch_is_new_then_known_and_a_later_one_has_to_wait() -> None:
    account = Account()
    assert account.judge(1, 11) is Acceptance.APPEND
    account.advance(11)
    assert account.judge(1, 11) is Acceptance.KNOWN
    assert account.judge(12, 20) is Acceptance.REWIND
    assert (account.judge(6, 16), account.known(6, 16)) == (Acceptance.APPEND, 5)


def test_a_watermark_counts_as_soon_as_everything_before_it_is_known() -> None:
    account = Account(next_seq=5)
    assert account.judge(5, 5) is Acceptance.APPEND
    assert account.judge(3, 3) is Acceptance.APPEND
    assert account.judge(6, 6) is Acceptance.REWIND


def test_numbers_that_no_sender_can_mean_are_violations() -> None:
    account = Account()
    assert account.judge(0, 3) is Acceptance.VIOLATION
    assert account.judge(5, 4) is Acceptance.VIOLATION
    assert account.judge(1, MAX_SEQ + 1) is Acceptance.VIOLATION
    assert account.judge_final(MAX_SEQ) is Acceptance.VIOLATION


def test_final_waits_for_what_comes_before_it_and_counts_once() -> None:
    account = Account(next_seq=4)
    assert account.judge_final(4) is Acceptance.REWIND
    assert account.judge_final(3) is Acceptance.APPEND
    account.finish()
    assert account.final == 3
    assert account.judge_final(3) is Acceptance.KNOWN


def test_final_of_a_sender_that_knows_less_than_the_log_still_ends_the_incarnation() -> None:
    account = Account(next_seq=10)
    assert account.judge_final(0) is Acceptance.APPEND
    account.finish()
    assert account.final == 9


def test_who_speaks_after_final_may_say_final_again() -> None:
    account = Account(next_seq=2)
    account.finish()
    account.advance(5)
    assert account.judge_final(4) is Acceptance.APPEND


def test_the_ledger_keeps_incarnations_apart_and_knows_who_may_say_more() -> None:
    ledger = Ledger()
    ledger.open("api", 1).advance(4)
    assert ledger.open("api", 2).next_seq == 1
    assert ledger.find("api", 3) is None
    ledger.finish("api", 1)
    ledger.finish("api", 1)
    assert not ledger.finished("api")
    assert (len(ledger), ledger.unfinished, list(ledger)) == (2, 1, [("api", 1), ("api", 2)])
    ledger.finish("api", 2)
    assert ledger.finished("api")
    assert ledger.unfinished == 0
    assert not ledger.finished("db")
