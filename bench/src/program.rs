//! The program, as a job.

use std::error::Error;
use std::fs;
use std::path::Path;

use crate::data::{columns, emptied};
use crate::report::Job;

/// What stands between the source and the sink, ending in `parse`.
pub const REGEX: &str = r#"
[transforms.parse]
type = "regex"
inputs = ["SOURCE"]
preset = "cloudfront_realtime"
"#;
/// As [`REGEX`], ending in `event`.
pub const REGEX_AND_ECS: &str = r#"
[transforms.parse]
type = "regex"
inputs = ["SOURCE"]
preset = "cloudfront_realtime"

[transforms.event]
type = "ecs"
inputs = ["parse"]
mapping = "cloudfront_realtime"
"#;

/// A pipeline from the objects through `transforms`, of which `last` feeds the sink.
pub fn pipeline(objects: &Path, transforms: &str, last: &str, sink: &str) -> String {
    let source = format!("type = \"s3\"\npath = \"{}\"\n", objects.display());
    between("objects", &source, transforms, last, sink)
}

/// The same from a source `records`.
pub fn from_kinesis(source: &str, transforms: &str, last: &str, sink: &str) -> String {
    between("records", source, transforms, last, sink)
}

fn between(name: &str, source: &str, transforms: &str, last: &str, sink: &str) -> String {
    let fields = columns().iter().map(|it| format!("\"{it}\"")).collect::<Vec<_>>().join(", ");
    let preset = "preset = \"cloudfront_realtime\"";
    let transforms = transforms.replace("SOURCE", name).replace(preset, &format!("{preset}\nfields = [{fields}]"));
    format!(
        "[dead_letters]\npath = \"refused\"\n\n[sources.{name}]\n{source}{transforms}\n[sinks.out]\ninputs = [\"{last}\"]\n{sink}\n"
    )
}

/// The program on a pipeline that is written to `home`, from a clean state each time.
pub fn forebay(name: &'static str, home: &Path, pipeline: String) -> Result<Job, Box<dyn Error>> {
    let program = std::env::current_exe()?.with_file_name("forebay");
    if !program.try_exists()? {
        return Err("build the program first: `cargo build --release`".into());
    }
    let directory = home.join(name.replace(' ', "-"));
    emptied(&directory)?;
    let command = vec![
        "env".into(),
        format!("--chdir={}", directory.display()),
        program.display().to_string(),
        "run".into(),
        "--quiet".into(),
    ];
    let before = move || {
        emptied(&directory)?;
        Ok(fs::write(directory.join("pipeline.toml"), &pipeline)?)
    };
    Ok(Job::new(name, command, before))
}
