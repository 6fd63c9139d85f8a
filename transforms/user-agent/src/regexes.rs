//! The patterns that come with the program, each set compiled when it is first asked.

use std::borrow::Cow;
use std::sync::LazyLock;

use ua_parser::{Regexes, device, os, user_agent};

/// The day of the patterns.
pub(crate) const OF: &str = "2026-08-11";

/// See `data/README.md`.
const FILE: &str = include_str!("../data/regexes.yaml");

/// Why the patterns are taken to be good: the tests compile all of them.
const COMPILE: &str = "the patterns that come with the program compile";

pub(crate) static AGENTS: LazyLock<user_agent::Extractor<'static>> = LazyLock::new(|| {
    let all = user_agent::Builder::new().push_all(read().user_agent_parsers);
    all.expect(COMPILE).build().expect(COMPILE)
});

pub(crate) static SYSTEMS: LazyLock<os::Extractor<'static>> =
    LazyLock::new(|| os::Builder::new().push_all(read().os_parsers).expect(COMPILE).build().expect(COMPILE));

pub(crate) static DEVICES: LazyLock<device::Extractor<'static>> =
    LazyLock::new(|| device::Builder::new().push_all(read().device_parsers).expect(COMPILE).build().expect(COMPILE));

/// The file. It keeps to the little of YAML that all parsers of it understand, and no more is read here: three lists,
/// whose items have keys with texts in single quotes.
fn read() -> Regexes<'static> {
    let mut regexes = Regexes { user_agent_parsers: Vec::new(), os_parsers: Vec::new(), device_parsers: Vec::new() };
    let mut list = "";
    for line in FILE.lines().map(str::trim_end) {
        let entry = line.trim_start();
        if entry.is_empty() || entry.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_suffix(':') {
            list = name;
            continue;
        }
        let (entry, is_new) = entry.strip_prefix("- ").map_or((entry, false), |it| (it, true));
        let (key, value) = text(entry).unwrap_or_else(|| panic!("`{line}` is not a key with a text"));
        let known = match list {
            "user_agent_parsers" => set_agent(item(&mut regexes.user_agent_parsers, is_new), key, value),
            "os_parsers" => set_system(item(&mut regexes.os_parsers, is_new), key, value),
            "device_parsers" => set_device(item(&mut regexes.device_parsers, is_new), key, value),
            _ => false,
        };
        assert!(known, "`{line}` has no place in the list `{list}`");
    }
    regexes
}

/// `key: 'it''s the value'`
fn text(entry: &'static str) -> Option<(&'static str, Cow<'static, str>)> {
    let (key, value) = entry.split_once(": ")?;
    let value = value.strip_prefix('\'')?.strip_suffix('\'')?;
    let plain = value.replace("''", "");
    if plain.contains('\'') {
        return None;
    }
    Some((key, if plain.len() == value.len() { Cow::Borrowed(value) } else { Cow::Owned(value.replace("''", "'")) }))
}

fn item<T: Default>(items: &mut Vec<T>, is_new: bool) -> &mut T {
    if is_new || items.is_empty() {
        items.push(T::default());
    }
    items.last_mut().expect("there is one now")
}

/// Whether there is such a key.
fn set_agent(item: &mut user_agent::Parser<'static>, key: &str, value: Cow<'static, str>) -> bool {
    let place = match key {
        "regex" => {
            item.regex = value;
            return true;
        }
        "family_replacement" => &mut item.family_replacement,
        "v1_replacement" => &mut item.v1_replacement,
        "v2_replacement" => &mut item.v2_replacement,
        "v3_replacement" => &mut item.v3_replacement,
        "v4_replacement" => &mut item.v4_replacement,
        _ => return false,
    };
    *place = Some(value);
    true
}

fn set_system(item: &mut os::Parser<'static>, key: &str, value: Cow<'static, str>) -> bool {
    let place = match key {
        "regex" => {
            item.regex = value;
            return true;
        }
        "os_replacement" => &mut item.os_replacement,
        "os_v1_replacement" => &mut item.os_v1_replacement,
        "os_v2_replacement" => &mut item.os_v2_replacement,
        "os_v3_replacement" => &mut item.os_v3_replacement,
        "os_v4_replacement" => &mut item.os_v4_replacement,
        _ => return false,
    };
    *place = Some(value);
    true
}

fn set_device(item: &mut device::Parser<'static>, key: &str, value: Cow<'static, str>) -> bool {
    let place = match key {
        "regex" => {
            item.regex = value;
            return true;
        }
        "regex_flag" if value == "i" => {
            item.regex_flag = Some(device::Flag::IgnoreCase);
            return true;
        }
        "device_replacement" => &mut item.device_replacement,
        "brand_replacement" => &mut item.brand_replacement,
        "model_replacement" => &mut item.model_replacement,
        _ => return false,
    };
    *place = Some(value);
    true
}
