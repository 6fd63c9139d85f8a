//! Several patterns, and what one leaves for the next.

use expect_test::expect;

use super::check;

/// Scenario: lines in which a group is missing come after lines that have it, in the same place of a block; and lines
/// that a first pattern matches in part before a second one matches them whole.
/// Guarantees: a missing group is null, whatever stood there before, and a row has values of its own pattern only.
#[test]
fn nothing_is_left_of_another_line() {
    let with_and_without: Vec<String> =
        (0..200).map(|it| if it < 100 { format!("x{it}\ty\tz") } else { format!("longer{it}\tline") }).collect();
    let config = super::config(r"pattern = '^(?<a>[^\t]*)\t(?<b>[^\t]*)(?:\t(?<c>[^\t]*))?$'");
    let lines = forebay_testkit::text("message", with_and_without.iter().map(String::as_str));
    let applied = forebay_testkit::transform(|| forebay_api::TransformConfig::build(&config).unwrap(), &[lines]);
    let missing = arrow_array::Array::null_count(applied.sent.column(2));
    assert_eq!((applied.sent.num_rows(), missing), (200, 100));

    check(
        r"patterns = ['^(?<x>[^\t]*)\t(?<b>[^\t]*)\t(?<c>[^\t]*)$', '^(?<y>[^\t]*)\t(?<b>[^\t]*)$']",
        ["1\t2", "3\t4\t5", "6\t7"],
        expect![[r#"
            x: Utf8, b: Utf8, c: Utf8, y: Utf8
            0 {"x":null,"b":"2","c":null,"y":"1"}
            1 {"x":"3","b":"4","c":"5","y":null}
            2 {"x":null,"b":"7","c":null,"y":"6"}
        "#]],
    );
}
