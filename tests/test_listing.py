"""Names and reasons of many layers in one sentence."""

from dirac_keras.listing import apart, by_reason, find_name, listed, quoted


def test_names_beyond_those_shown_are_counted():
    assert listed("abc") == "a, b, c"
    assert listed("abcd") == "a, b, c and 1 more"
    assert quoted(["a", "b"], most=1) == "'a' and 1 more"
    assert listed([]) == ""
    assert quoted(["a\r\nb", "c\u2028d"]) == "'a b', 'c d'"  # one line, whatever ends lines in names


def test_a_name_is_found_as_written_else_in_another_form_of_unicode():
    """A joiner is a letter like others; an accent may be a character of its own, unless two names differ in that."""
    names = ["\u00e9t\u00e9", "\u06a9\u200c", "\u06a9"]
    assert [find_name(name, names) for name in names] == [0, 1, 2]
    assert find_name("e\u0301te\u0301", names) == 0 and find_name("ete", names) is None
    both = ["\u00e9", "e\u0301"]
    assert [find_name(name, both) for name in both] == [0, 1]


def test_lists_are_told_apart_by_the_first_names_that_differ():
    """Not by the first names, which may be the same."""
    assert apart("abcdef", "abcxyz") == "there d, e, f, here x, y, z"
    assert apart("abcd", "abdc") == "in another order, there c, d, here d, c"
    assert apart("ab", "abcdef") == "there no more, here c, d, e and 1 more"


def test_names_with_one_reason_stand_together_in_the_order_of_the_first():
    reasons = {"a": "it is shared", "b": "it has strides", "c": "it is shared"}
    assert by_reason(reasons) == "'a', 'c': it is shared; 'b': it has strides"


def test_reasons_that_differ_in_names_and_numbers_alone_are_told_once():
    reasons = {f"add_{k}": f"'conv_{k}' joins {k} tensors" for k in range(1, 6)}
    assert by_reason(reasons) == "'add_1': 'conv_1' joins 1 tensors; likewise 'add_2', 'add_3', 'add_4' and 1 more"


def test_the_rarest_of_too_many_reasons_are_counted():
    reasons = {"a": "first", "b": "second", "c": "third", "d": "third", "e": "fourth"}
    assert by_reason(reasons, kinds=2) == "'a': first; 'c', 'd': third; and 2 more for 2 other reasons"
    assert by_reason(reasons, kinds=3).endswith("; and 1 more for 1 other reason")


def test_a_thousand_names_with_long_reasons_of_a_kind_are_one_short_sentence():
    reasons = {f"cell_{k}/add": f"'cell_{k}/pool' (AveragePooling2D) in its branch mixes pixels" for k in range(1000)}
    assert len(by_reason(reasons)) < 200
