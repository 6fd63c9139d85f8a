//! Files with problems in looked-up values and in environments.

use expect_test::expect;

use super::{check, check_in, with};

/// Scenario: references that are not well formed.
/// Guarantees: the wrong part is marked.
#[test]
fn references() {
    check(
        &with(
            "\
password = { env = 'PASSWORD', defualt = 'x' }
size = { file = 5 }
slow = { env = 'YES', default = [] }
",
        ),
        expect![[r#"
            error: unknown key `defualt` beside `env`
             --> pipeline.toml:9:32
              |
            9 | password = { env = 'PASSWORD', defualt = 'x' }
              |                                ^^^^^^^ did you mean `default`?
              |
              = help: known: env, default

            error: `file` must be text
              --> pipeline.toml:10:17
               |
            10 | size = { file = 5 }
               |                 ^

            error: `default` must be text, a number or a boolean
              --> pipeline.toml:11:33
               |
            11 | slow = { env = 'YES', default = [] }
               |                                 ^^
        "#]],
    );
}

/// Scenario: looked-up values and secrets that do not fit, and errors beside secrets.
/// Guarantees: no message and no quoted line shows them.
#[test]
fn looked_up_values_stay_hidden() {
    check(
        &with(
            "\
password = { file = 'secret.txt' }
size = { env = 'SIZE' }
slow = { env = 'FOUR' }
[transforms.count]
type = 'count'
inputs = ['access']
column = { env = 'COLUMN' }
[sinks.hole]
type = 'hole'
inputs = ['count']
",
        ),
        expect![[r#"
            error: the value of environment variable `SIZE` does not fit here
              --> pipeline.toml:10:8
               |
            10 | size = { env = 'SIZE' }
               |        ^^^^^^^^^^^^^^^^
               |
               = help: `size`: The size of a file.

            error: the value of environment variable `FOUR` does not fit here
              --> pipeline.toml:11:8
               |
            11 | slow = { env = 'FOUR' }
               |        ^^^^^^^^^^^^^^^^
               |
               = help: `slow`: Whether to write slowly.

            error: the value of environment variable `COLUMN` does not fit here
              --> pipeline.toml:15:10
               |
            15 | column = { env = 'COLUMN' }
               |          ^^^^^^^^^^^^^^^^^^
               |
               = help: known: message
        "#]],
    );
    check(
        "\
dead_letters.path = 'x'
[sources.access]
type = 'lines'
path = 'a'
[sinks]
one = { type = 'store', inputs = ['access'], path = 'a', password = 'hunter2', slow = 5 }
two = { type = 'store', inputs = ['access'], path = 'b', pasword = 'hunter2' }
three = { type = 'store', inputs = ['access'], path = 'c', password = 123456 }
",
        expect![[r#"
            error: expected `true` or `false`, found `5`
             --> pipeline.toml:6:87
              |
            6 | one = { type = 'store', inputs = ['access'], path = 'a', password = *********, slow = 5 }
              |                                                                                       ^
              |
              = help: `slow`: Whether to write slowly.

            error: unknown key `pasword`
             --> pipeline.toml:7:58
              |
            7 | two = { type = 'store', inputs = ['access'], path = 'b', pasword = ********* }
              |                                                          ^^^^^^^ did you mean `password`?
              |
              = help: known: path, password, size, slow, type, inputs, on_refused, batch, retry, in_flight_max

            error: expected text, found another type of value
             --> pipeline.toml:8:71
              |
            8 | three = { type = 'store', inputs = ['access'], path = 'c', password = ****** }
              |                                                                       ^^^^^^
              |
              = help: `password`: The key to the directory.
        "#]],
    );
}

/// Scenario: a variable that is not set, and problems that it cannot be to blame for.
/// Guarantees: only the latter are reported.
#[test]
fn missing_values_hide_nothing_else() {
    check(
        &with(
            "\
size = { env = 'NOT_SET' }
slow = 5
",
        ),
        expect![[r#"
            error: expected `true` or `false`, found `5`
              --> pipeline.toml:10:8
               |
            10 | slow = 5
               |        ^
               |
               = help: `slow`: Whether to write slowly.
        "#]],
    );
}

/// Scenario: overlays that change what does not exist, or change it to something wrong.
/// Guarantees: the lines of the overlay are marked.
#[test]
fn environments() {
    check_in(
        Some("dev"),
        &with(
            "\
[env.dev.sinks.ot]
path = 'x'
[env.dev.sinks.out]
pth = 'y'
size = '5'
[env.dev.sink.out]
[env.dev.env]
[env.prod.sources.access]
pth = 'not looked at'
",
        ),
        expect![[r#"
            error: there is no sink `ot` to change
             --> pipeline.toml:9:16
              |
            9 | [env.dev.sinks.ot]
              |                ^^ did you mean `out`?
              |
              = help: known: out

            error: unknown key `pth`
              --> pipeline.toml:12:1
               |
            12 | pth = 'y'
               | ^^^ did you mean `path`?
               |
               = help: known: path, password, size, slow, type, inputs, on_refused, batch, retry, in_flight_max

            error: `5` is not a size: write a number and a unit, such as "64MiB", "500KB" or "1GiB"
              --> pipeline.toml:13:8
               |
            13 | size = '5'
               |        ^^^
               |
               = help: `size`: The size of a file.

            error: unknown section `sink`
              --> pipeline.toml:14:10
               |
            14 | [env.dev.sink.out]
               |          ^^^^ did you mean `sinks`?
               |
               = help: known: name, drain_max, state, dead_letters, metrics, sources, transforms, sinks

            error: unknown section `env`
              --> pipeline.toml:15:10
               |
            15 | [env.dev.env]
               |          ^^^
               |
               = help: known: name, drain_max, state, dead_letters, metrics, sources, transforms, sinks
        "#]],
    );
    check_in(
        Some("dev"),
        &with(
            "\
[env.dev.sinks.out]
type = 'store'
",
        ),
        expect![[r#"
            error: missing key `path`
             --> pipeline.toml:9:1
              |
            9 | [env.dev.sinks.out]
              | ^^^^^^^^^^^^^^^^^^^ sink `store` needs it
              |
              = help: `path`: The directory. For example `path = "./data"`
        "#]],
    );
    check_in(
        Some("dve"),
        &with(
            "\
[env.dev]
[env.prod]
",
        ),
        expect![[r#"
            error: environment `dve` does not exist
             --> pipeline.toml:9:6
              |
            9 | [env.dev]
              |      ^^^ did you mean `dev`?
              |
              = help: known: dev, prod
        "#]],
    );
    check_in(
        Some("dev"),
        &with(""),
        expect![[r#"
        error: environment `dev` does not exist
         --> pipeline.toml:1:1
          |
        1 | dead_letters.path = './refused'
          | ^
          |
          = help: the file has no environments; `[env.dev...]` makes one
    "#]],
    );
    check_in(
        Some("dev"),
        &with(
            "\
[env.dev]
sources = 1
[env]
prod = 5
",
        ),
        expect![[r#"
            error: `sources` must be a table of sources, but is a value of type integer
              --> pipeline.toml:10:11
               |
            10 | sources = 1
               |           ^

            error: environment `prod` must be a table
              --> pipeline.toml:12:8
               |
            12 | prod = 5
               |        ^
        "#]],
    );
}

/// Scenario: dead letters at places that are none, in a queue that is none, with an account that is none.
/// Guarantees: each is marked at the key that is wrong, not at the path.
#[test]
fn dead_letters_nowhere() {
    let with = |keys: &str| with("").replace("dead_letters.path = './refused'", keys);
    for (keys, expected) in [
        (
            "dead_letters.path = 'gs://logs/refused'",
            expect![[r#"
            error: `dead_letters`: `gs://` is no place for files: directories and `s3://` are
             --> pipeline.toml:1:21
              |
            1 | dead_letters.path = 'gs://logs/refused'
              |                     ^^^^^^^^^^^^^^^^^^^
              |
              = help: write a directory, such as "./data", or a place in a bucket: "s3://bucket/prefix"
        "#]],
        ),
        (
            "dead_letters.path = 'file:///var/refused'",
            expect![[r#"
            error: `dead_letters`: `file:///var/refused` is a URL, and a directory is written as a path
             --> pipeline.toml:1:21
              |
            1 | dead_letters.path = 'file:///var/refused'
              |                     ^^^^^^^^^^^^^^^^^^^^^
              |
              = help: write a directory, such as "./data", or a place in a bucket: "s3://bucket/prefix"
        "#]],
        ),
        (
            "dead_letters = { path = './refused', queue = 'refused' }",
            expect![[r#"
            error: `dead_letters`: `refused` is no URL of a queue
             --> pipeline.toml:1:46
              |
            1 | dead_letters = { path = './refused', queue = 'refused' }
              |                                              ^^^^^^^^^
              |
              = help: `aws sqs get-queue-url --queue-name …` tells it
        "#]],
        ),
        (
            "dead_letters = { path = './refused', aws = { endpoint = 'localhost' } }",
            expect![[r#"
            error: `dead_letters`: `endpoint` is not the URL of a server: it has no `http://` or `https://`
             --> pipeline.toml:1:57
              |
            1 | dead_letters = { path = './refused', aws = { endpoint = 'localhost' } }
              |                                                         ^^^^^^^^^^^
              |
              = help: write scheme, host and port, such as "http://127.0.0.1:9000"
        "#]],
        ),
    ] {
        check(&with(keys), expected);
    }
}
