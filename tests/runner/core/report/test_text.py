"""Text that reaches a terminal fits and is harmless."""

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from runner.core.report.text import ALERT, GOOD, Span, clean, fit, paint, plain, unit_tone, without_escapes, wrap

ANY = st.text(st.characters(), max_size=60)  # surrogates, controls, joiners and all


@given(ANY)
def test_clean_text_can_do_no_harm_to_a_terminal(text: str) -> None:
    cleaned = clean(text)
    assert all(character.isprintable() or character == "\u3000" for character in cleaned)
    assert not set(cleaned) & {"\x1b", "\r", "\n", "\u200d", "\u202e", "\ufe0f"}
    cleaned.encode("utf-8")


@given(ANY, st.integers(0, 40), st.booleans(), st.booleans())
def test_fitted_text_has_exactly_the_width_asked_for(text: str, width: int, right: bool, middle: bool) -> None:
    assert cell_len(fit(clean(text), width, right=right, middle=middle)) == width


@given(ANY, st.integers(4, 40), st.integers(0, 6))
def test_wrapped_lines_fit_and_lose_no_word(text: str, width: int, hang: int) -> None:
    lines = wrap(clean(text), width, hang=hang)
    assert all(cell_len(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(clean(text).split())


def test_a_long_name_keeps_its_beginning_and_its_end() -> None:
    assert fit("order-service-worker-17", 12) == "order-…er-17"
    assert fit("a long sentence", 8, middle=False) == "a long …"


def test_wide_characters_count_twice() -> None:
    assert cell_len(fit("注文サービス", 7)) == 7


def test_wrapped_lines_hang() -> None:
    assert wrap("  near miss: one two three", 16, hang=2) == ["  near miss: one", "    two three"]


def test_markup_is_only_text() -> None:
    assert paint((Span("[red]x[/red]"),), colours=True) == "[red]x[/red]"


def test_escape_sequences_of_a_unit_are_dropped_and_stray_controls_shown() -> None:
    assert without_escapes("\x1b[31mred\x1b[0m \x1b]0;title\x07end\x08x") == "red end�x"
    assert clean("a\x1b[2Jb\nc") == "a�[2Jb⏎c"


def test_no_color_keeps_bold_and_drops_colours() -> None:
    line = (Span("PASSED", GOOD), Span(" "), Span("late", ALERT), Span("   "))
    assert paint(line, colours=True) == "\x1b[1;32mPASSED\x1b[0m \x1b[31mlate\x1b[0m"
    assert paint(line, colours=False) == "\x1b[1mPASSED\x1b[0m late"
    assert paint(line, colours=False, attributes=False) == plain(line) == "PASSED late"


def test_a_unit_always_has_the_same_colour_and_neighbours_differ() -> None:
    assert unit_tone("worker-1") == unit_tone("worker-1") != unit_tone("worker-2")
