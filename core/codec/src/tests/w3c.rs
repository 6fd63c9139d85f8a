//! The W3C extended log file format.

use super::*;

/// Scenario: W3C logs with headers in every place, and lines that do not fit them.
/// Guarantees: fields go to the column of their name, `-` is null, and what does not fit is refused with a reason.
#[test]
fn w3c_logs() {
    let strict = w3c(&["date", "cs(Host)", "x-new"], UnknownFields::Refuse);
    check(
        b"#Version: 1.0\n#Fields: date cs(Host)\n2026-11-01\t-\n2026-11-02\thost\t\t\n",
        &strict,
        expect![[r#"
            object:(start..end]
            3 "2026-11-01" ∅ ∅
            4 "2026-11-02" "host" ∅
        "#]],
    );
    check(
        b"early\thost\n#Fields: cs(Host) date\nhost\tdate\nfew\n\na\tb\tc\n",
        &strict,
        expect![[r#"
            object:(start..end]
            1 refused "early\thost": no `#Fields:` line comes before it
            3 "date" "host" ∅
            4 refused "few": it has 1 of the 2 fields that `#Fields:` names
            6 refused "a\tb\tc": it has 3 fields, but `#Fields:` names 2
        "#]],
    );
    check(
        b"#Fields: date\nd1\n#Fields: cs(Host) date\nh2\td2\n",
        &strict,
        expect![[r#"
            object:(start..end]
            2 "d1" ∅ ∅
            4 "d2" "h2" ∅
        "#]],
    );
    check(
        b"#Fields: date secret\nd1\ts1\n#Fields: date\nd2\n",
        &strict,
        expect![[r#"
            object:(start..end]
            2 refused "d1\ts1": the file has a field `secret` that is not declared: add it to `fields`, or set `unknown_fields = "ignore"`
            4 "d2" ∅ ∅
        "#]],
    );
    check(
        b"#Fields: date\nd1\n#Fields: date \xff\nd2\n#Fields:\nd3\n#Fields: date date\nd4\td4\n",
        &strict,
        expect![[r##"
            object:(start..end]
            2 "d1" ∅ ∅
            3 refused "#Fields: date �": it is not UTF-8: byte 15 is 0xff
            4 refused "d2": the `#Fields:` line before it was refused
            6 refused "d3": the `#Fields:` line before it names no field
            8 refused "d4\td4": the `#Fields:` line before it names `date` twice
        "##]],
    );
    check(
        b"#Fields: date cs(Host) x-new and-more\nd1\n",
        &strict,
        expect![[r##"
            object:(start..end]
            1 refused "#Fields: date cs(Host) x-new and-more": it has 37 bytes, more than the 30 of `line_bytes_max`
            2 refused "d1": the `#Fields:` line before it was refused
        "##]],
    );
    let lax = w3c(&["date", "cs(Host)"], UnknownFields::Ignore);
    check(
        b"#Fields: secret date\ns1\td1\n\t\n",
        &lax,
        expect![[r#"
        object:(start..end]
        2 "d1" ∅
        3 "" ∅
    "#]],
    );
}

/// Scenario: a W3C log is read on from after each of its lines.
/// Guarantees: the header counts although its line is not wanted any more.
#[test]
fn w3c_resume() {
    let layout = w3c(&["date"], UnknownFields::Refuse);
    let log = b"#Fields: date\nd2\nd3\n#Fields: other\nd5\n#Fields: \xff\nd7\n#Fields: date\n\nd10\n";
    let all = rows(&reads(&log[..], &layout, Limits::default(), 0, &Position::End));
    for from in 0..=10 {
        let rest: Vec<_> = all.iter().filter(|it| it.0 > Position::row(from)).cloned().collect();
        assert_eq!(rows(&reads(&log[..], &layout, Limits::default(), from, &Position::End)), rest);
    }
}

/// Scenario: a configuration whose keys do not go together.
/// Guarantees: the error names the key and what would have worked.
#[test]
fn wrong_fields() {
    let wrong = |format: Format, fields: Option<&[&str]>, unknown_fields| {
        let fields: Option<Vec<String>> = fields.map(|it| it.iter().map(|it| (*it).to_owned()).collect());
        let keys = FormatKeys { format, fields: fields.as_deref(), unknown_fields, ..FormatKeys::default() };
        let wrong = keys.layout().unwrap_err();
        format!("{}: {} ({})\n", wrong.key, wrong.what, wrong.hint.unwrap_or_default())
    };
    let all = [
        wrong(Format::Lines, Some(&["date"]), None),
        wrong(Format::Lines, None, Some(UnknownFields::Ignore)),
        wrong(Format::W3c, Some(&[]), None),
        wrong(Format::W3c, Some(&["date", ""]), None),
        wrong(Format::W3c, Some(&["cs Host"]), None),
        wrong(Format::W3c, Some(&["date", "date"]), None),
    ];
    expect![[r#"
        fields: `fields` says nothing about `format = "lines"` (lines have one column, `message`; for named fields choose another format)
        unknown_fields: `unknown_fields` says nothing about `format = "lines"` (lines have one column, `message`; for named fields choose another format)
        fields: `fields` names no field (name those of the `#Fields:` line, or leave `fields` away for those of CloudFront)
        fields: `` is not a field's name (a `#Fields:` line has spaces between names, so a name has none, and is not empty)
        fields: `cs Host` is not a field's name (a `#Fields:` line has spaces between names, so a name has none, and is not empty)
        fields: field `date` is named twice ()
    "#]].assert_eq(&all.concat());
    let default = FormatKeys { format: Format::W3c, ..FormatKeys::default() }.layout().unwrap();
    let names: Vec<_> = default.schema().fields().iter().map(|it| it.name().as_str()).collect();
    assert_eq!(names, STANDARD_FIELDS);
}
