//! The `user_agent` transform: what browser, system and device a user agent names.

mod apply;
mod cache;
mod distinct;
mod parse;
mod regexes;

#[cfg(test)]
mod tests;

use forebay_api::{BoxError, Config, Transform, TransformConfig};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::apply::Enrich;

/// Says of a column of user agents which program, system and device they name, as fields of the Elastic Common Schema.
///
/// ```toml
/// [transforms.browser]
/// type = "user_agent"
/// inputs = ["event"]
/// bots = ["HeadlessChrome"]
/// ```
///
/// The columns of the input are carried along, and behind them come:
///
/// | field | for example | column |
/// |--|--|--|
/// | `user_agent.name` | `Mobile Safari` | text |
/// | `user_agent.version` | `17.4.1` | text |
/// | `user_agent.device.name` | `iPhone` | text |
/// | `user_agent.os.name` | `iOS` | text |
/// | `user_agent.os.version` | `17.4.1` | text |
/// | `user_agent.os.full` | `iOS 17.4.1` | text |
/// | `user_agent.is_bot` | `false` | Boolean |
///
/// A column of one of these names in the input gives way. What a user agent does not tell is null, and where there is no
/// user agent all of them are. No row is refused and none is filtered, least of all those of bots: another transform, or
/// a query, may do that.
///
/// The patterns are those of [uap-core](https://github.com/ua-parser/uap-core), the data that most parsers of user agents
/// share; `forebay check --explain` says of what day. `user_agent.is_bot` is true where they take the device for a
/// `Spider` (crawlers, monitors, makers of previews) and where `bots` says so. ECS has no such field. Scripts and
/// libraries such as curl are no bots by these patterns, but have a `user_agent.name`.
///
/// Each different text is parsed once for many rows: a column that is dictionary-encoded comes out as dictionary-encoded
/// columns, others as plain text. Only what is used behind this transform is looked for. Of a user agent that is longer
/// than 2 KiB the first 2 KiB count.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserAgent {
    /// The column that holds the user agents. Default: `"user_agent.original"`, or `"user_agent_original"` where `names`
    /// says so.
    pub column: Option<String>,

    /// Whether `%20` and the like stand for bytes, as in the logs of CloudFront: `true`, or `false` to take all texts as
    /// they are. The column itself stays as it is. Default: those texts are decoded, once, that have `%20` but no blank.
    pub percent_encoded: Option<bool>,

    /// Parts of a user agent that make it a bot, without regard to upper and lower case, besides those that the patterns
    /// know: `["HeadlessChrome", "curl/"]`. Default: none.
    #[serde(default)]
    pub bots: Vec<String>,

    /// How the fields are named in the output: `"dotted"` as ECS does, or `"underscored"` for places where a dot is no
    /// part of a name (`user_agent_os_name`). Default: `"dotted"`.
    #[serde(default)]
    pub names: Names,
}

/// How fields are named in the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Names {
    /// As ECS names them: `user_agent.os.name`.
    #[default]
    Dotted,
    /// With an underscore for each dot: `user_agent_os_name`.
    Underscored,
}

impl Names {
    /// The name of an ECS field in the output.
    fn of(self, field: &str) -> String {
        match self {
            Self::Dotted => field.to_owned(),
            Self::Underscored => field.replace('.', "_"),
        }
    }
}

impl Config for UserAgent {
    const TYPE: &'static str = "user_agent";
}

impl TransformConfig for UserAgent {
    fn build(&self) -> Result<Box<dyn Transform>, BoxError> {
        Ok(Box::new(Enrich::new(self)?))
    }

    fn explain(&self) -> Vec<String> {
        vec![format!("reads user agents with the patterns of uap-core of {}", regexes::OF)]
    }
}
