mod agents;
mod columns;
mod memory;

use expect_test::{Expect, expect};
use forebay_api::{TransformConfig, Wrong};

use crate::UserAgent;

fn config(toml: &str) -> UserAgent {
    toml::from_str(toml).unwrap()
}

/// What is wrong with a file, or what it plans.
fn plan(toml: &str, input: &arrow_schema::SchemaRef) -> String {
    let planned = config(toml).build().and_then(|mut it| it.plan(input));
    match planned {
        Ok(output) => output.fields().iter().map(|it| format!("{} {}\n", it.name(), it.data_type())).collect(),
        Err(error) => {
            let wrong: &Wrong = error.downcast_ref().unwrap();
            let more = wrong.label.iter().chain(&wrong.hint).map(|it| format!("\n  {it}"));
            format!("{}: {wrong}{}\n", wrong.key, more.collect::<String>())
        }
    }
}

fn check_plan(toml: &str, input: &arrow_schema::SchemaRef, expected: Expect) {
    expected.assert_eq(&plan(toml, input));
}

/// Scenario: files that name columns of every kind.
/// Guarantees: what comes out is told before there are rows, and an error names its key and what to do.
#[test]
fn plans() {
    let input = forebay_testkit::text("user_agent.original", ["x"]).schema();
    check_plan(
        "",
        &input,
        expect![[r#"
        user_agent.original Utf8
        user_agent.name Utf8
        user_agent.version Utf8
        user_agent.device.name Utf8
        user_agent.os.name Utf8
        user_agent.os.version Utf8
        user_agent.os.full Utf8
        user_agent.is_bot Boolean
    "#]],
    );
    check_plan(
        "names = 'underscored'\ncolumn = 'user_agent.original'",
        &input,
        expect![[r#"
        user_agent.original Utf8
        user_agent_name Utf8
        user_agent_version Utf8
        user_agent_device_name Utf8
        user_agent_os_name Utf8
        user_agent_os_version Utf8
        user_agent_os_full Utf8
        user_agent_is_bot Boolean
    "#]],
    );
    check_plan(
        "names = 'underscored'",
        &input,
        expect![[r#"
        column: column `user_agent_original` does not exist
          did you mean `user_agent.original`?
          known: user_agent.original
    "#]],
    );
    check_plan(
        "column = 'user_agent'",
        &input,
        expect![[r#"
        column: column `user_agent` does not exist
          did you mean `user_agent.original`?
          known: user_agent.original
    "#]],
    );
    check_plan(
        "bots = ['curl', '']",
        &input,
        expect![[r#"
        bots: an empty text is a part of every user agent
    "#]],
    );

    let number =
        arrow_schema::Schema::new(vec![arrow_schema::Field::new("status", arrow_schema::DataType::Int32, true)]);
    check_plan(
        "column = 'status'",
        &number.into(),
        expect![[r#"
        column: column `status` must hold text, but holds Int32
    "#]],
    );
    let name = forebay_testkit::text("user_agent.name", ["x"]).schema();
    check_plan(
        "column = 'user_agent.name'",
        &name,
        expect![[r#"
        column: column `user_agent.name` would be replaced by what it tells
          give it another name before this transform
    "#]],
    );
}

/// Scenario: `forebay check --explain`.
/// Guarantees: it says how old the patterns are, as the note beside them does.
#[test]
fn explains() {
    let told = config("").explain().join("\n");
    expect!["reads user agents with the patterns of uap-core of 2026-08-11"].assert_eq(&told);
    assert!(include_str!("../data/README.md").contains(crate::regexes::OF));
}
