//! One user agent.

use std::borrow::Cow;
use std::sync::LazyLock;

use percent_encoding::percent_decode_str;
use ua_parser::{os, user_agent};

use crate::regexes::{AGENTS, DEVICES, SYSTEMS};

/// So much of a user agent is looked at. Browsers send a tenth of it; the time that the patterns take grows with it.
const BYTES_MAX: usize = 2048;

/// What the patterns call the device of a bot.
const BOT: &str = "Spider";

/// A field that is told by a user agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Name,
    Version,
    DeviceName,
    OsName,
    OsVersion,
    OsFull,
    IsBot,
}

impl Field {
    /// All of them, in the order of the output.
    pub(crate) const ALL: [Self; 7] =
        [Self::Name, Self::Version, Self::DeviceName, Self::OsName, Self::OsVersion, Self::OsFull, Self::IsBot];

    /// Its name in ECS.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Name => "user_agent.name",
            Self::Version => "user_agent.version",
            Self::DeviceName => "user_agent.device.name",
            Self::OsName => "user_agent.os.name",
            Self::OsVersion => "user_agent.os.version",
            Self::OsFull => "user_agent.os.full",
            Self::IsBot => "user_agent.is_bot",
        }
    }
}

/// What a user agent tells. What was not asked for is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    name: Option<String>,
    version: Option<String>,
    device: Option<String>,
    os_name: Option<String>,
    os_version: Option<String>,
    os_full: Option<String>,
    pub(crate) is_bot: bool,
}

impl Told {
    /// The text of a field. [`Field::IsBot`] has none.
    pub(crate) fn text(&self, field: Field) -> Option<&str> {
        match field {
            Field::Name => self.name.as_deref(),
            Field::Version => self.version.as_deref(),
            Field::DeviceName => self.device.as_deref(),
            Field::OsName => self.os_name.as_deref(),
            Field::OsVersion => self.os_version.as_deref(),
            Field::OsFull => self.os_full.as_deref(),
            Field::IsBot => None,
        }
    }
}

/// Which of the three sets of patterns are asked. The time is theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    agent: bool,
    system: bool,
    device: bool,
}

impl Asked {
    /// What these fields need.
    pub(crate) fn of(fields: &[Field]) -> Self {
        let mut asked = Self::default();
        for field in fields {
            match field {
                Field::Name | Field::Version => asked.agent = true,
                Field::OsName | Field::OsVersion | Field::OsFull => asked.system = true,
                Field::DeviceName | Field::IsBot => asked.device = true,
            }
        }
        asked
    }
}

/// Compiles the patterns that these need, which takes a tenth of a second, if nobody has.
pub(crate) fn compile(asked: Asked) {
    if asked.agent {
        LazyLock::force(&AGENTS);
    }
    if asked.system {
        LazyLock::force(&SYSTEMS);
    }
    if asked.device {
        LazyLock::force(&DEVICES);
    }
}

/// How a text is read.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    /// Whether it is percent-encoded; `None`: as it looks.
    pub(crate) percent_encoded: Option<bool>,
    /// Parts that make it a bot, in lower case.
    pub(crate) bots: Vec<String>,
}

impl Reading {
    /// What this user agent tells.
    pub(crate) fn parse(&self, text: &str, asked: Asked) -> Told {
        let plain = self.plain(text);
        let agent = &plain[..plain.floor_char_boundary(BYTES_MAX)];
        let mut told = Told::default();
        if asked.agent {
            let found = AGENTS.extract(agent);
            told.version = found.as_ref().and_then(agent_version);
            told.name = found.map(|it| it.family.into_owned());
        }
        if asked.system {
            let found = SYSTEMS.extract(agent);
            told.os_version = found.as_ref().and_then(system_version);
            told.os_name = found.map(|it| it.os.into_owned());
            told.os_full = told.os_name.as_ref().map(|name| match &told.os_version {
                Some(version) => format!("{name} {version}"),
                None => name.clone(),
            });
        }
        if asked.device {
            told.device = DEVICES.extract(agent).map(|it| it.device.into_owned());
            told.is_bot = told.device.as_deref() == Some(BOT) || self.names_a_bot(agent);
        }
        told
    }

    fn plain<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let looks_encoded = || text.contains("%20") && !text.contains(' ');
        match self.percent_encoded.unwrap_or_else(looks_encoded) {
            true => percent_decode_str(text).decode_utf8_lossy(),
            false => Cow::Borrowed(text),
        }
    }

    fn names_a_bot(&self, agent: &str) -> bool {
        if self.bots.is_empty() {
            return false;
        }
        let agent = agent.to_lowercase();
        self.bots.iter().any(|it| agent.contains(it))
    }
}

fn agent_version(found: &user_agent::ValueRef<'_>) -> Option<String> {
    version([found.major, found.minor, found.patch, found.patch_minor])
}

fn system_version(found: &os::ValueRef<'_>) -> Option<String> {
    version([&found.major, &found.minor, &found.patch, &found.patch_minor].map(Option::as_deref))
}

/// The parts up to the first that is missing, with points between.
fn version(parts: [Option<&str>; 4]) -> Option<String> {
    let parts: Vec<&str> = parts.into_iter().map_while(|it| it.filter(|it| !it.is_empty())).collect();
    (!parts.is_empty()).then(|| parts.join("."))
}
