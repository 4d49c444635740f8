"""The moments after a release, by the numbers."""

from probe.quiet_period import QUIET_S, QuietPeriod


def test_it_begins_at_the_moment_of_the_release_and_ends_once() -> None:
    quiet = QuietPeriod()
    assert not quiet.is_on(5.0)
    assert not quiet.ends(5.0)
    quiet.begin(10.0)
    assert not quiet.is_on(9.9)
    assert quiet.is_on(10.0)
    assert not quiet.ends(10.0 + QUIET_S / 2)
    assert quiet.ends(10.0 + QUIET_S)
    assert not quiet.ends(10.0 + QUIET_S)
    assert quiet.until_s is None


def test_of_two_releases_the_earlier_one_counts() -> None:
    quiet = QuietPeriod()
    quiet.begin(10.0)
    quiet.begin(20.0)
    assert quiet.until_s == 10.0 + QUIET_S
