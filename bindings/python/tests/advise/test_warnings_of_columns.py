"""Warnings for which a log must have more columns than the norm."""

from __future__ import annotations

from synthetic import steady

from gradclip._advise import advise_log
from gradclip._advise.readers import read


def advice_on(tmp_path, header, rows):
    path = tmp_path / "run.csv"
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return advise_log(read(str(path)))


def text_of(advice, cause):
    (text,) = (warning.text for warning in advice.warnings if warning.cause == cause)
    return text


def test_a_batch_size_that_changes_is_named_with_its_step(tmp_path):
    def rows(sizes):
        return [(i, norm, sizes(i)) for i, norm in enumerate(steady(300), 1)]

    header = "step,grad_norm,global_batch_size"
    advice = advice_on(tmp_path, header, rows(lambda i: 8 if i < 101 else 16 if i < 201 else 32))
    assert "changes 2 time(s), first to 16 at step 101" in text_of(advice, "batch-size")
    advice = advice_on(tmp_path, header, rows(lambda i: 8))
    assert all(warning.cause != "batch-size" for warning in advice.warnings)


def test_a_column_named_for_clipped_norms_is_one_of_norms_from_after_clipping(tmp_path):
    rows = [(i, norm) for i, norm in enumerate(steady(300), 1)]
    advice = advice_on(tmp_path, "step,grad_norm_clipped", rows)
    assert advice.verdict == "after clipping" and not advice.recommendations
    assert "by its name the column holds norms from after" in text_of(advice, "after-clipping")


def test_the_tensor_that_is_not_finite_is_named_by_its_own_column(tmp_path):
    rows = [(i, norm, norm / 2, norm / 3) for i, norm in enumerate(steady(300), 1)]
    for i in (40, 41, 90):
        rows[i] = (i + 1, "nan", 1.5, "nan")
    rows[200] = (201, "inf", "inf", 1.5)
    advice = advice_on(tmp_path, "step,grad_norm,grad_norm/body,grad_norm/head", rows)
    text = text_of(advice, "nonfinite")
    assert "4 norm(s) are not finite" in text
    assert "it began in 'head' (3 times), 'body' (1 times)" in text
