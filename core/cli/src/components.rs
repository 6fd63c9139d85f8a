//! Every component that this program knows. Add one line.

use forebay_config::Registry;

/// The components of Forebay. A program of your own adds to them:
/// `forebay_cli::main(forebay_cli::components().transform::<Shout>())`.
pub fn components() -> Registry {
    Registry::default()
        .source::<source_beacon::Beacon>()
        .source::<source_demo::Demo>()
        .source::<source_firehose::Firehose>()
        .source::<source_kinesis::Kinesis>()
        .source::<source_s3::S3>()
        .transform::<transform_ecs::Ecs>()
        .transform::<transform_regex::Regex>()
        .transform::<transform_user_agent::UserAgent>()
        .sink::<sink_blackhole::Blackhole>()
        .sink::<sink_clickhouse::ClickHouse>()
        .sink::<sink_console::Console>()
        .sink::<sink_firehose::Firehose>()
        .sink::<sink_parquet::Parquet>()
}
