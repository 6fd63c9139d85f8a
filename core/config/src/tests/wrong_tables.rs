//! Files with problems in their tables: names, keys, values, syntax.

use expect_test::expect;

use super::check;

/// Scenario: misspelt names of every sort in one file.
/// Guarantees: each is reported at its place with the nearest name that exists, sorted by place.
#[test]
fn unknown_keys_and_types() {
    check(
        "\
nam = 'x'
dead_letters.path = './refused'
[source.a]
[sources.access]
type = 'line'
[sources.other]
type = 'lines'
path = 'x'
pth = 'y'
inputs = ['access']
[transforms.count]
type = 'lines'
inputs = ['acess']
[sinks.out]
inputs = ['other', 'count']
path = './data'
[sinks.hole]
type = 'hole'
inputs = ['other']
anything = 1
batch = { rows = 5 }
retry.wait_mx = '5s'
",
        expect![[r#"
            error: unknown key `nam`
             --> pipeline.toml:1:1
              |
            1 | nam = 'x'
              | ^^^ did you mean `name`?
              |
              = help: known: name, drain_max, state, dead_letters, metrics, sources, transforms, sinks, env

            error: unknown section `source`
             --> pipeline.toml:3:2
              |
            3 | [source.a]
              |  ^^^^^^ did you mean `sources`?
              |
              = help: known: name, drain_max, state, dead_letters, metrics, sources, transforms, sinks, env

            error: unknown source type `line`
             --> pipeline.toml:5:8
              |
            5 | type = 'line'
              |        ^^^^^^ did you mean `lines`?
              |
              = help: known: lines

            error: unknown key `pth`
             --> pipeline.toml:9:1
              |
            9 | pth = 'y'
              | ^^^ did you mean `path`?
              |
              = help: known: path, columns, listen, type, on_refused

            error: unknown key `inputs`
              --> pipeline.toml:10:1
               |
            10 | inputs = ['access']
               | ^^^^^^ only transforms and sinks have `inputs`
               |
               = help: known: path, columns, listen, type, on_refused

            error: unknown transform type `lines`
              --> pipeline.toml:12:8
               |
            12 | type = 'lines'
               |        ^^^^^^^ `lines` is a source
               |
               = help: known: count

            error: input `acess` does not exist
              --> pipeline.toml:13:11
               |
            13 | inputs = ['acess']
               |           ^^^^^^^ did you mean `access`?
               |
               = help: known: access, other

            error: missing key `type`
              --> pipeline.toml:14:1
               |
            14 | [sinks.out]
               | ^^^^^^^^^^^ which sink is it?
               |
               = help: known: store, hole

            error: unknown key `anything`
              --> pipeline.toml:20:1
               |
            20 | anything = 1
               | ^^^^^^^^
               |
               = help: known: type, inputs, on_refused, batch, retry, in_flight_max

            error: unknown key `rows`
              --> pipeline.toml:21:11
               |
            21 | batch = { rows = 5 }
               |           ^^^^ did you mean `rows_max`?
               |
               = help: known: rows_max, bytes_max, age_max, interval_min

            error: unknown key `wait_mx`
              --> pipeline.toml:22:7
               |
            22 | retry.wait_mx = '5s'
               |       ^^^^^^^ did you mean `wait_max`?
               |
               = help: known: wait_min, wait_max, tries_max, age_max
        "#]],
    );
}

/// Scenario: values of the wrong type and range, several in one node.
/// Guarantees: all of them are reported in plain words, with what the key is for.
#[test]
fn wrong_values() {
    check(
        "\
dead_letters.path = 5
drain_max = '5 parsecs'
[sources.access]
type = 'lines'
path = 5
columns = ['a', 2]
[transforms.count]
type = 'count'
inputs = 'access'
column = true
unit = 'byte'
max = 0
types = { message = 1 }
[sinks.out]
type = 'store'
inputs = ['count', 3]
path = []
size = '4 parsecs'
slow = 'yes'
on_refused = 'ignore'
in_flight_max = -1
batch = { bytes_max = 5, age_max = '5' }
",
        expect![[r#"
            error: expected text, found `5`
             --> pipeline.toml:1:21
              |
            1 | dead_letters.path = 5
              |                     ^
              |
              = help: `path`: A directory of JSON Lines files, or the place of such in S3, `"s3://bucket/prefix"`: each row with the reason, and its place in the source. For example `path = "./refused"`

            error: `5 parsecs` is not a length of time: write a number and a unit, such as "200ms", "5s" or "10m"
             --> pipeline.toml:2:13
              |
            2 | drain_max = '5 parsecs'
              |             ^^^^^^^^^^^
              |
              = help: `drain_max`: How long a stop may take. What is still on its way then is abandoned, and read again at the next start.

            error: expected text, found `5`
             --> pipeline.toml:5:8
              |
            5 | path = 5
              |        ^
              |
              = help: `path`: The file to read. For example `path = "./access.log"`

            error: expected text, found `2`
             --> pipeline.toml:6:17
              |
            6 | columns = ['a', 2]
              |                 ^

            error: expected a list, found `"access"`
             --> pipeline.toml:9:10
              |
            9 | inputs = 'access'
              |          ^^^^^^^^
              |
              = help: `inputs`: The nodes that the rows come from. `NODE.refused` names the rows that `NODE` refused. For example `inputs = ["access"]`

            error: expected text, found `true`
              --> pipeline.toml:10:10
               |
            10 | column = true
               |          ^^^^
               |
               = help: `column`: The column to count.

            error: unknown value `byte`
              --> pipeline.toml:11:8
               |
            11 | unit = 'byte'
               |        ^^^^^^ did you mean `bytes`?
               |
               = help: known: bytes, letters

            error: expected a whole number from 1, found `0`
              --> pipeline.toml:12:7
               |
            12 | max = 0
               |       ^
               |
               = help: `max`: How many at most.

            error: expected text, found `1`
              --> pipeline.toml:13:21
               |
            13 | types = { message = 1 }
               |                     ^

            error: expected text, found `3`
              --> pipeline.toml:16:20
               |
            16 | inputs = ['count', 3]
               |                    ^

            error: expected text, found a list
              --> pipeline.toml:17:8
               |
            17 | path = []
               |        ^^
               |
               = help: `path`: The directory. For example `path = "./data"`

            error: `4 parsecs` is not a size: write a number and a unit, such as "64MiB", "500KB" or "1GiB"
              --> pipeline.toml:18:8
               |
            18 | size = '4 parsecs'
               |        ^^^^^^^^^^^
               |
               = help: `size`: The size of a file.

            error: expected `true` or `false`, found `"yes"`
              --> pipeline.toml:19:8
               |
            19 | slow = 'yes'
               |        ^^^^^
               |
               = help: `slow`: Whether to write slowly.

            error: unknown value `ignore`
              --> pipeline.toml:20:14
               |
            20 | on_refused = 'ignore'
               |              ^^^^^^^^
               |
               = help: known: dead_letters, stop

            error: expected a whole number from 1, found `-1`
              --> pipeline.toml:21:17
               |
            21 | in_flight_max = -1
               |                 ^^
               |
               = help: `in_flight_max`: How many deliveries may be on their way at a time. A sink that cannot deliver holds back all that read the same source, once these, one more and a queue of 8 MiB are full.

            error: expected text, found `5`
              --> pipeline.toml:22:23
               |
            22 | batch = { bytes_max = 5, age_max = '5' }
               |                       ^
               |
               = help: `bytes_max`: At so many bytes of Arrow data. For example `bytes_max = "64MiB"`
        "#]],
    );
}

/// Scenario: nodes without keys that must be there.
/// Guarantees: each is reported at the header of its table.
#[test]
fn missing_keys() {
    check(
        "\
dead_letters = {}
[sources.access]
[transforms.count]
type = 'count'
[sinks]
out = { type = 'store', inputs = ['access'] }
",
        expect![[r#"
            error: missing key `path`
             --> pipeline.toml:1:16
              |
            1 | dead_letters = {}
              |                ^^
              |
              = help: `path`: A directory of JSON Lines files, or the place of such in S3, `"s3://bucket/prefix"`: each row with the reason, and its place in the source. For example `path = "./refused"`

            error: missing key `type`
             --> pipeline.toml:2:1
              |
            2 | [sources.access]
              | ^^^^^^^^^^^^^^^^ which source is it?
              |
              = help: known: lines

            error: missing key `column`
             --> pipeline.toml:3:1
              |
            3 | [transforms.count]
              | ^^^^^^^^^^^^^^^^^^ transform `count` needs it
              |
              = help: `column`: The column to count.

            error: missing key `inputs`
             --> pipeline.toml:3:1
              |
            3 | [transforms.count]
              | ^^^^^^^^^^^^^^^^^^ a transform needs it
              |
              = help: `inputs`: The nodes that the rows come from. `NODE.refused` names the rows that `NODE` refused. For example `inputs = ["access"]`

            error: missing key `path`
             --> pipeline.toml:6:7
              |
            6 | out = { type = 'store', inputs = ['access'] }
              |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ sink `store` needs it
              |
              = help: `path`: The directory. For example `path = "./data"`
        "#]],
    );
}

/// Scenario: a file with nothing in it, or without nodes where tables belong.
/// Guarantees: what must be there is named.
#[test]
fn missing_sections() {
    check(
        "",
        expect![[r#"
        error: the pipeline has no sink
         --> pipeline.toml:1:1
          |
        1 |
          | ^
          |
          = help: write `[sinks.NAME]` and below it `type = "..."`

        error: the pipeline has no source
         --> pipeline.toml:1:1
          |
        1 |
          | ^
          |
          = help: write `[sources.NAME]` and below it `type = "..."`
    "#]],
    );
    check(
        "\
sources = 5
[sinks]
a = 1
",
        expect![[r#"
            error: `sources` must be a table of sources, but is a value of type integer
             --> pipeline.toml:1:11
              |
            1 | sources = 5
              |           ^

            error: `a` in `sinks` must be a table
             --> pipeline.toml:3:1
              |
            3 | a = 1
              | ^
              |
              = help: write `[sinks.NAME]` and below it `type = "…"`
        "#]],
    );
}

/// Scenario: several syntax errors, and other problems beside them.
/// Guarantees: all syntax errors are reported, the others as far as they are certain.
#[test]
fn syntax() {
    check(
        "\
[sources.access
type = 'lines'
path =
[sinks.out]
type = 'stor'
inputs = ['access']
inputs = ['access']
path = 'x
",
        expect![[r#"
            error: unclosed table, expected `]`
             --> pipeline.toml:1:16
              |
            1 | [sources.access
              |                ^

            error: unknown sink type `stor`
             --> pipeline.toml:5:8
              |
            5 | type = 'stor'
              |        ^^^^^^ did you mean `store`?
              |
              = help: known: store, hole

            error: duplicate key
             --> pipeline.toml:7:1
              |
            7 | inputs = ['access']
              | ^^^^^^

            error: invalid literal string, expected `'`
             --> pipeline.toml:8:10
              |
            8 | path = 'x
              |          ^
        "#]],
    );
}

/// Scenario: names that cannot be, and names used twice.
/// Guarantees: each is reported with what a name may be.
#[test]
fn names() {
    check(
        "\
name = 'My Pipeline'
dead_letters.path = './refused'
[sources.Access]
type = 'lines'
path = 'a'
[sinks.Access]
type = 'hole'
inputs = ['Access']
[env.Dev]
",
        expect![[r#"
            error: `My Pipeline` cannot be the name of a pipeline
             --> pipeline.toml:1:8
              |
            1 | name = 'My Pipeline'
              |        ^^^^^^^^^^^^^
              |
              = help: a name begins with a small letter a-z, and goes on with small letters, digits, `_` and `-`

            error: `Access` cannot be the name of a node
             --> pipeline.toml:3:10
              |
            3 | [sources.Access]
              |          ^^^^^^
              |
              = help: a name begins with a small letter a-z, and goes on with small letters, digits, `_` and `-`

            error: `Access` cannot be the name of a node
             --> pipeline.toml:6:8
              |
            6 | [sinks.Access]
              |        ^^^^^^
              |
              = help: a name begins with a small letter a-z, and goes on with small letters, digits, `_` and `-`

            error: there is a source of the name `Access` already
             --> pipeline.toml:6:8
              |
            6 | [sinks.Access]
              |        ^^^^^^
              |
              = help: sources, transforms and sinks share their names, since `inputs` may name any of them

            error: `Dev` cannot be the name of an environment
             --> pipeline.toml:9:6
              |
            9 | [env.Dev]
              |      ^^^
              |
              = help: a name begins with a small letter a-z, and goes on with small letters, digits, `_` and `-`
        "#]],
    );
}
