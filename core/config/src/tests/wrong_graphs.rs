//! Files with problems between their nodes: inputs, columns, resources.

use expect_test::expect;

use super::{check, with};

/// Scenario: inputs that name what cannot be read.
/// Guarantees: each says why.
#[test]
fn graph_inputs() {
    check(
        "\
dead_letters.path = './refused'
[sources.access]
type = 'lines'
path = 'a'
[sinks.one]
type = 'hole'
inputs = ['acces', 'access', 'access', 'two', 'two.refused', 'access.errors']
[sinks.two]
type = 'hole'
inputs = []
",
        expect![[r#"
            error: input `acces` does not exist
             --> pipeline.toml:7:11
              |
            7 | inputs = ['acces', 'access', 'access', 'two', 'two.refused', 'access.errors']
              |           ^^^^^^^ did you mean `access`?
              |
              = help: known: access

            error: input `access` is named twice
             --> pipeline.toml:7:30
              |
            7 | inputs = ['acces', 'access', 'access', 'two', 'two.refused', 'access.errors']
              |                              ^^^^^^^^

            error: `two` is a sink, and nothing comes out of a sink
             --> pipeline.toml:7:40
              |
            7 | inputs = ['acces', 'access', 'access', 'two', 'two.refused', 'access.errors']
              |                                        ^^^^^

            error: `two` is a sink, and nothing comes out of a sink
             --> pipeline.toml:7:47
              |
            7 | inputs = ['acces', 'access', 'access', 'two', 'two.refused', 'access.errors']
              |                                               ^^^^^^^^^^^^^
              |
              = help: rows that a sink refuses go to the dead letters, or stop the pipeline with `on_refused = "stop"`

            error: `access` has no port `errors`
             --> pipeline.toml:7:62
              |
            7 | inputs = ['acces', 'access', 'access', 'two', 'two.refused', 'access.errors']
              |                                                              ^^^^^^^^^^^^^^^
              |
              = help: `access` names the rows that it sends, `access.refused` those that it refuses

            error: sink `two` has no inputs
              --> pipeline.toml:10:10
               |
            10 | inputs = []
               |          ^^
               |
               = help: name the nodes that its rows come from
        "#]],
    );
}

/// Scenario: transforms that feed each other.
/// Guarantees: the whole cycle is printed.
#[test]
fn graph_cycle() {
    check(
        "\
dead_letters.path = './refused'
[sources.access]
type = 'lines'
path = 'a'
[transforms.one]
type = 'count'
column = 'message'
inputs = ['access', 'three']
[transforms.two]
type = 'count'
column = 'message'
inputs = ['one']
[transforms.three]
type = 'count'
column = 'message'
inputs = ['two']
[sinks.out]
type = 'hole'
inputs = ['three']
",
        expect![[r#"
            error: nodes feed each other: two -> three -> one -> two
              --> pipeline.toml:12:11
               |
            12 | inputs = ['one']
               |           ^^^^^
               |
               = help: rows go from sources to sinks; take one of these inputs out
        "#]],
    );
    check(
        "\
dead_letters.path = './refused'
[sources.access]
type = 'lines'
path = 'a'
[transforms.one]
type = 'count'
column = 'message'
inputs = ['one']
[sinks.out]
type = 'hole'
inputs = ['one', 'access']
",
        expect![[r#"
            error: nodes feed each other: one -> one
             --> pipeline.toml:8:11
              |
            8 | inputs = ['one']
              |           ^^^^^
              |
              = help: rows go from sources to sinks; take one of these inputs out
        "#]],
    );
}

/// Scenario: a source and a transform that nobody reads.
/// Guarantees: each is an error.
#[test]
fn graph_unused() {
    check(
        "\
dead_letters.path = './refused'
[sources.access]
type = 'lines'
path = 'a'
[sources.other]
type = 'lines'
path = 'b'
[transforms.count]
type = 'count'
inputs = ['access']
column = 'message'
[sinks.out]
type = 'hole'
inputs = ['access', 'other.refused']
",
        expect![[r#"
            error: unused output: no node reads source `other`
             --> pipeline.toml:5:10
              |
            5 | [sources.other]
              |          ^^^^^
              |
              = help: add `other` to the `inputs` of a transform or sink, or take it out

            error: unused output: no node reads transform `count`
             --> pipeline.toml:8:13
              |
            8 | [transforms.count]
              |             ^^^^^
              |
              = help: add `count` to the `inputs` of a transform or sink, or take it out

            error: `access` and `other.refused` do not have the same columns
              --> pipeline.toml:14:21
               |
            14 | inputs = ['access', 'other.refused']
               |                     ^^^^^^^^^^^^^^^ column `payload` is only in `other.refused`
               |
               = help: several inputs of one node must have the same columns in the same order
        "#]],
    );
}

/// Scenario: a file without dead letters.
/// Guarantees: one error names the first node whose refused rows would be lost.
#[test]
fn refused_goes_nowhere() {
    check(
        "\
[sources.access]
type = 'lines'
path = 'a'
on_refused = 'stop'
[transforms.count]
type = 'count'
inputs = ['access']
column = 'message'
[sinks.out]
type = 'hole'
inputs = ['count']
",
        expect![[r#"
            error: rows that `count` refuses go nowhere
             --> pipeline.toml:5:13
              |
            5 | [transforms.count]
              |             ^^^^^
              |
              = help: keep them with a table `[dead_letters]` and in it `path = "./refused"`, or write `on_refused = "stop"` for each node
        "#]],
    );
}

/// Scenario: components that are planned against columns that do not fit.
/// Guarantees: the blamed key is marked, also in an inner table; else the type.
#[test]
fn columns() {
    check(
        "\
dead_letters.path = './refused'
[sources.access]
type = 'lines'
path = 'a'
columns = ['massage', 'time']
[sources.empty]
type = 'lines'
path = ''
[transforms.first]
type = 'count'
inputs = ['access']
column = 'mesage'
[transforms.second]
type = 'count'
inputs = ['access']
column = 'massage'
[transforms.second.types]
tme = 'u8'
[transforms.third]
type = 'count'
inputs = ['empty']
column = 'not planned, since its input is unknown'
max = 1001
[sinks.out]
type = 'store'
inputs = ['access']
path = './data'
[sinks.hole]
type = 'hole'
inputs = ['first', 'second', 'third']
",
        expect![[r#"
            error: the path is empty
             --> pipeline.toml:8:8
              |
            8 | path = ''
              |        ^^
              |
              = help: name a file

            error: column `mesage` does not exist
              --> pipeline.toml:12:10
               |
            12 | column = 'mesage'
               |          ^^^^^^^^ did you mean `massage`?
               |
               = help: known: massage, time

            error: column `tme` does not exist
              --> pipeline.toml:18:7
               |
            18 | tme = 'u8'
               |       ^^^^ did you mean `time`?
               |
               = help: known: massage, time

            error: column `message` does not exist
              --> pipeline.toml:25:8
               |
            25 | type = 'store'
               |        ^^^^^^^ did you mean `massage`?
               |
               = help: known: massage, time
        "#]],
    );
    check(
        &with(
            "\
[transforms.third]
type = 'count'
inputs = ['access']
column = 'message'
max = 1001
[sinks.hole]
type = 'hole'
inputs = ['third']
",
        ),
        expect![[r#"
            error: counting is limited to 1000
              --> pipeline.toml:10:8
               |
            10 | type = 'count'
               |        ^^^^^^^
        "#]],
    );
}

/// Scenario: inputs with other columns than the first one.
/// Guarantees: the first column that differs is named.
#[test]
fn several_inputs() {
    check(
        "\
dead_letters.path = './refused'
[sources.a]
type = 'lines'
path = 'a'
[sources.b]
type = 'lines'
path = 'b'
columns = ['message', 'time']
[sources.c]
type = 'lines'
path = 'c'
columns = ['text']
[sinks.one]
type = 'hole'
inputs = ['a', 'b']
[sinks.two]
type = 'hole'
inputs = ['b', 'a']
[sinks.three]
type = 'hole'
inputs = ['a', 'c']
[sinks.four]
type = 'hole'
inputs = ['a', 'a.refused']
",
        expect![[r#"
            error: `a` and `b` do not have the same columns
              --> pipeline.toml:15:16
               |
            15 | inputs = ['a', 'b']
               |                ^^^ column `time` is only in `b`
               |
               = help: several inputs of one node must have the same columns in the same order

            error: `b` and `a` do not have the same columns
              --> pipeline.toml:18:16
               |
            18 | inputs = ['b', 'a']
               |                ^^^ column `time` is only in `b`
               |
               = help: several inputs of one node must have the same columns in the same order

            error: `a` and `c` do not have the same columns
              --> pipeline.toml:21:16
               |
            21 | inputs = ['a', 'c']
               |                ^^^ column `text` is only in `c`
               |
               = help: several inputs of one node must have the same columns in the same order

            error: `a` and `a.refused` do not have the same columns
              --> pipeline.toml:24:16
               |
            24 | inputs = ['a', 'a.refused']
               |                ^^^^^^^^^^^ column `payload` is only in `a.refused`
               |
               = help: several inputs of one node must have the same columns in the same order
        "#]],
    );
}

/// Scenario: components that share a port, of one address and of all, or a directory, under several spellings of its path.
/// Guarantees: the later one is reported, and names the earlier one.
#[test]
fn shared_resources() {
    check(
        "\
state.path = './state'
dead_letters.path = './refused/../state'
[sources.a]
type = 'lines'
path = 'a'
listen = '127.0.0.1:80'
[sources.b]
type = 'lines'
path = 'b'
listen = '0.0.0.0:80'
[sinks.one]
type = 'store'
inputs = ['a', 'b']
path = './data'
[sinks.two]
type = 'store'
inputs = ['a']
path = 'data/x/..'
[sinks.three]
type = 'store'
inputs = ['a']
path = './.forebay/pipeline'
",
        expect![[r#"
            error: directory `state` is used by `state` already
             --> pipeline.toml:2:21
              |
            2 | dead_letters.path = './refused/../state'
              |                     ^^^^^^^^^^^^^^^^^^^^
              |
              = help: give `dead_letters` another one

            error: port `0.0.0.0:80` is used by source `a` already
              --> pipeline.toml:10:10
               |
            10 | listen = '0.0.0.0:80'
               |          ^^^^^^^^^^^^
               |
               = help: give source `b` another one

            error: directory `data` is used by sink `one` already
              --> pipeline.toml:18:8
               |
            18 | path = 'data/x/..'
               |        ^^^^^^^^^^^
               |
               = help: give sink `two` another one
        "#]],
    );
    check(
        &with(
            "\
[sinks.state]
type = 'store'
inputs = ['access']
path = '.forebay/pipeline'
",
        ),
        expect![[r#"
            error: directory `.forebay/pipeline` is used by `state` already
              --> pipeline.toml:12:8
               |
            12 | path = '.forebay/pipeline'
               |        ^^^^^^^^^^^^^^^^^^^
               |
               = help: give sink `state` another one
        "#]],
    );
}
