//! What is generated from the doc comments.

use expect_test::expect;

use super::fakes::{Lines, registry};
use crate::{Kind, Registry, engine_reference, reference, schema};

/// Scenario: reference pages of a component and of the engine's keys.
/// Guarantees: types, defaults, allowed values and examples are on them.
#[test]
fn reference_pages() {
    let page = |kind, name| reference(&registry(), kind, name).expect("a page");
    expect![[r##"
        # `count` transform

        Adds a number made from a column.

        ## Keys

        - `column`: text, required.
          The column to count.

        - `unit`: one of the values below, default `"bytes"`.
          How to count.
          - `"bytes"`: Bytes of UTF-8.
          - `"letters"`: Unicode letters.

        - `types`: table of text, optional.
          Types by column.

        - `max`: whole number, optional.
          How many at most.

        Keys that every transform has: `type`, `inputs`, `on_refused`.

        ## Example

        ```toml
        [transforms.NAME]
        type = "count"
        inputs = ["INPUT"]
        column = "stand-in"
        ```
    "##]]
    .assert_eq(&page(Kind::Transform, "count"));
    expect![[r##"
        # `store` sink

        Stores rows.

        ## Keys

        - `path`: text, required.
          The directory.
          Example: `path = "./data"`

        - `password`: text (a secret), optional.
          The key to the directory.

        - `size`: text, default `"64MiB"`.
          The size of a file.

        - `slow`: boolean, default `false`.
          Whether to write slowly.

        Keys that every sink has: `type`, `inputs`, `on_refused`, `batch`, `retry`, `in_flight_max`.

        ## Example

        ```toml
        [sinks.NAME]
        type = "store"
        inputs = ["INPUT"]
        path = "./data"
        ```
    "##]]
    .assert_eq(&page(Kind::Sink, "store"));
    expect![[r##"
        # Keys that every pipeline has

        ## The file

        - `name`: text, optional.
          The pipeline's name, which is part of the identity of all that it delivers: under another name it starts anew.
          Default: the name of the file without `.toml`.
          Example: `name = "cdn-logs"`

        - `drain_max`: text, default `"10s"`.
          How long a stop may take. What is still on its way then is abandoned, and read again at the next start.

        - `state`: table, optional.
          Where the pipeline remembers how far it has come.

        - `state.path`: text, required.
          A directory. Default: `./.forebay/NAME`, or `./.forebay/NAME-ENV` in the environment `ENV`,
          so that a trial run does not move the positions of the real one.
          Example: `path = "/var/lib/forebay"`

        - `dead_letters`: table, optional.
          Where refused rows are kept that no node reads; `forebay replay` takes them through the pipeline again.

        - `dead_letters.path`: text, required.
          A directory of JSON Lines files, or the place of such in S3, `"s3://bucket/prefix"`: each row with the reason, and
          its place in the source.
          Example: `path = "./refused"`

        - `dead_letters.queue`: text, optional.
          The URL of an SQS queue that gets them instead, each as a message. Those that are too large for one are kept at
          `path`, and the message says where.

        - `dead_letters.aws`: table, optional.
          The account of the bucket and the queue. Default: the one that all AWS programs find.

        - `dead_letters.aws.region`: text, optional.
          The region, for example `"eu-central-1"`. Default: that of the environment, of the profile or of the instance;
          `us-east-1` if an `endpoint` is given and none is found.

        - `dead_letters.aws.endpoint`: text, optional.
          The URL of another server than that of AWS: an S3-compatible one, or an interface endpoint of a private
          network. Example: `"http://127.0.0.1:9000"`. Default: AWS, or what `AWS_ENDPOINT_URL` says. A server that refuses
          the checksums that AWS has wanted since 2025 needs the variable
          `AWS_REQUEST_CHECKSUM_CALCULATION=when_required`. A certificate of one's own must be trusted by the system, or be
          in the file that the variable `SSL_CERT_FILE` names.

        - `dead_letters.aws.path_style`: boolean, optional.
          Whether a bucket stands in the path of an address (`host/bucket/key`), not in the name of the host
          (`bucket.host/key`). Default: `true` if an `endpoint` is given, else `false`.

        - `dead_letters.aws.profile`: text, optional.
          The profile in `~/.aws/config` and `~/.aws/credentials`, for example `"analytics"`. Default: what `AWS_PROFILE`
          says, else `default`.

        - `dead_letters.aws.role`: text, optional.
          The ARN of a role to take on with the credentials found, for example
          `"arn:aws:iam::123456789012:role/forebay"`. Default: none.

        - `dead_letters.aws.external_id`: text, optional.
          The external ID that another account wants for its `role`. Default: none.

        - `dead_letters.aws.session_name`: text, optional.
          The name under which CloudTrail shows what was done with `role`: 2 to 64 of `A-Z a-z 0-9 _ = , . @ -`.
          Default: `"forebay"`.

        - `dead_letters.aws.access_key_id`: text (a secret), optional.
          The access key of an S3-compatible server, together with `secret_access_key`. Example: `{ env = "S3_ACCESS_KEY" }`.
          Default: what is found as described above.

        - `dead_letters.aws.secret_access_key`: text (a secret), optional.
          The secret that belongs to `access_key_id`. Example: `{ env = "S3_SECRET_KEY" }`.

        - `dead_letters.aws.session_token`: text (a secret), optional.
          The token that belongs to an `access_key_id` that is valid for some hours only. Such keys are not renewed.

        - `metrics`: table, optional.
          Where the running pipeline can be watched: `GET /metrics` for Prometheus, `GET /health` for whatever starts and
          stops it. Default: nowhere.

        - `metrics.listen`: text, required.
          The address and port to listen on, without TLS and without a password: what is said there is how many rows went
          where, never what is in them.
          Example: `listen = "127.0.0.1:9464"`

        - `metrics.stuck_after`: text, default `"1m"`.
          `/health` answers 503 when a sink has had rows for so much longer than its `batch.age_max` allows, and none of
          them was delivered. Default: `"1m"`.

        ## Every source

        - `type`: text, required. Which source it is.

        - `on_refused`: one of the values below, default `"dead_letters"`.
          What becomes of refused rows that no node reads.
          - `"dead_letters"`: They are kept in the dead letters.
          - `"stop"`: The pipeline stops and says so.

        ## Every transform

        - `type`: text, required. Which transform it is.

        - `inputs`: list of text, required.
          The nodes that the rows come from. `NODE.refused` names the rows that `NODE` refused.
          Example: `inputs = ["access"]`

        - `on_refused`: one of the values below, default `"dead_letters"`.
          What becomes of refused rows that no node reads.
          - `"dead_letters"`: They are kept in the dead letters.
          - `"stop"`: The pipeline stops and says so.

        ## Every sink

        - `type`: text, required. Which sink it is.

        - `inputs`: list of text, required.
          The nodes that the rows come from. `NODE.refused` names the rows that `NODE` refused.
          Example: `inputs = ["event"]`

        - `on_refused`: one of the values below, default `"dead_letters"`.
          What becomes of refused rows that no node reads.
          - `"dead_letters"`: They are kept in the dead letters.
          - `"stop"`: The pipeline stops and says so.

        - `batch`: table, optional.
          When a delivery is full: whichever comes first. What is left out is as the sink's page says.

        - `batch.rows_max`: whole number, optional.
          At so many rows.
          Example: `rows_max = 100000`

        - `batch.bytes_max`: text, optional.
          At so many bytes of Arrow data.
          Example: `bytes_max = "64MiB"`

        - `batch.age_max`: text, optional.
          So long after its first row came.
          Example: `age_max = "5s"`

        - `batch.interval_min`: text, optional.
          Its age is not enough until so long after the sink's last delivery went out: until then it grows. Where processes
          share partitions, the deliveries of each take turns.
          Example: `interval_min = "1s"`

        - `retry`: table, optional.
          How failures are retried: with a wait that doubles from `wait_min` to `wait_max`, for ever if there is no limit.

        - `retry.wait_min`: text, optional.
          The first wait. Default: `"200ms"`.
          Example: `wait_min = "1s"`

        - `retry.wait_max`: text, optional.
          The longest wait. Default: `"30s"`.
          Example: `wait_max = "5m"`

        - `retry.tries_max`: whole number, optional.
          How often it is tried, at most. Then the rows go to the dead letters, and the pipeline goes on. If the last answers
          were lost on their way, they may have been delivered as well. Default: no limit.
          Example: `tries_max = 10`

        - `retry.age_max`: text, optional.
          For how long it is tried, at most; then as with `tries_max`. Default: no limit.
          Example: `age_max = "1h"`

        - `in_flight_max`: whole number, default `2`.
          How many deliveries may be on their way at a time. A sink that cannot deliver holds back all that read the same
          source, once these, one more and a queue of 8 MiB are full.
    "##]]
    .assert_eq(&engine_reference());
    assert_eq!(reference(&registry(), Kind::Sink, "count"), None);
}

/// Scenario: the schema of transforms, of which there is one.
/// Guarantees: all keys in `properties`, then a chain of closed tables; scalars may be references.
#[test]
fn schema_of_nodes() {
    let schema = schema(&registry());
    let transforms = &schema["properties"]["transforms"];
    expect![[r##"
        {
          "description": "What is done to them.",
          "type": "object",
          "propertyNames": {
            "pattern": "^[a-z][a-z0-9_-]*$"
          },
          "additionalProperties": {
            "type": "object",
            "properties": {
              "type": {
                "description": "Which transform it is.",
                "enum": [
                  "count"
                ],
                "x-taplo": {
                  "docs": {
                    "enumValues": [
                      "Adds a number made from a column."
                    ]
                  }
                }
              },
              "inputs": {
                "type": "array",
                "items": {
                  "anyOf": [
                    {
                      "type": "string"
                    },
                    {
                      "$ref": "#/definitions/reference"
                    }
                  ]
                },
                "description": "The nodes that the rows come from. `NODE.refused` names the rows that `NODE` refused.",
                "examples": [
                  [
                    "access"
                  ]
                ]
              },
              "on_refused": {
                "description": "What becomes of refused rows that no node reads.",
                "default": "dead_letters",
                "anyOf": [
                  {
                    "oneOf": [
                      {
                        "type": "string",
                        "const": "dead_letters",
                        "description": "They are kept in the dead letters."
                      },
                      {
                        "type": "string",
                        "const": "stop",
                        "description": "The pipeline stops and says so."
                      }
                    ]
                  },
                  {
                    "$ref": "#/definitions/reference"
                  }
                ]
              },
              "column": {
                "description": "The column to count.",
                "anyOf": [
                  {
                    "type": "string"
                  },
                  {
                    "$ref": "#/definitions/reference"
                  }
                ]
              },
              "unit": {
                "description": "How to count.",
                "default": "bytes",
                "anyOf": [
                  {
                    "oneOf": [
                      {
                        "type": "string",
                        "const": "bytes",
                        "description": "Bytes of UTF-8."
                      },
                      {
                        "type": "string",
                        "const": "letters",
                        "description": "Unicode letters."
                      }
                    ]
                  },
                  {
                    "$ref": "#/definitions/reference"
                  }
                ]
              },
              "types": {
                "type": "object",
                "additionalProperties": {
                  "anyOf": [
                    {
                      "type": "string"
                    },
                    {
                      "$ref": "#/definitions/reference"
                    }
                  ]
                },
                "description": "Types by column."
              },
              "max": {
                "description": "How many at most.",
                "anyOf": [
                  {
                    "type": "integer",
                    "format": "uint32",
                    "minimum": 1
                  },
                  {
                    "$ref": "#/definitions/reference"
                  }
                ]
              }
            },
            "required": [
              "type"
            ],
            "if": {
              "properties": {
                "type": {
                  "const": "count"
                }
              },
              "required": [
                "type"
              ]
            },
            "then": {
              "properties": {
                "type": true,
                "inputs": true,
                "on_refused": true,
                "column": true,
                "unit": true,
                "types": true,
                "max": true
              },
              "required": [
                "inputs",
                "column"
              ],
              "additionalProperties": false
            },
            "else": {}
          }
        }"##]]
    .assert_eq(&serde_json::to_string_pretty(transforms).unwrap());
}

/// Scenario: the schema as a whole.
/// Guarantees: its sections; it is the same each time.
#[test]
fn schema_of_the_file() {
    let whole = schema(&registry());
    let keys = |it: &serde_json::Value| it.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    expect!["name drain_max state dead_letters metrics sources transforms sinks env"]
        .assert_eq(&keys(&whole["properties"]));
    expect!["name drain_max state dead_letters metrics sources transforms sinks"]
        .assert_eq(&keys(&whole["properties"]["env"]["additionalProperties"]["properties"]));
    assert_eq!(whole.to_string(), schema(&registry()).to_string());
}

/// Scenario: two components of one name.
/// Guarantees: the program does not start, and says why.
#[test]
#[should_panic(expected = "there are two sources of the name `lines`")]
fn duplicates() {
    let _ = Registry::default().source::<Lines>().source::<Lines>();
}
