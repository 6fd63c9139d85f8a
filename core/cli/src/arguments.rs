//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use forebay_api::Dialect;

const FILE: &str = "pipeline.toml";

/// Moves rows from sources through transforms into sinks, as a file describes it.
///
/// Without a command: runs `pipeline.toml`.
#[derive(Debug, Parser)]
#[command(
    name = "forebay",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 good, 1 the world is wrong, 2 the file or the command line is wrong."
)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The environment of the file, `[env.NAME...]`, that is laid over it.
    #[arg(short, long, global = true, env = "FOREBAY_ENV", value_name = "NAME", hide_env_values = true)]
    pub env: Option<String>,

    /// How log lines look. `FOREBAY_LOG` says which there are: `info`, or `forebay_engine=debug`.
    #[arg(long, global = true, default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a pipeline until its sources end, or until it is told to stop.
    ///
    /// The first Ctrl-C (or SIGTERM) lets what is on its way arrive; nothing is lost by a second one: what did not
    /// arrive is read again at the next start.
    #[command(after_help = "Example: forebay run pipeline.toml --env dev")]
    Run(Run),
    /// Take dead letters through the pipeline again, each from the node on that refused it.
    ///
    /// Rows that a transform has refused go through that transform and all that is behind it; rows that a sink has refused
    /// go to that sink. What a source has refused stays: an object that cannot be read, or a line that is too long, is no
    /// row. What is refused again is kept again, with its first place and the new reason. Letters that are no rows of this
    /// file, since its columns have other types now, stay as they are; the exit code is 1 then. Each letter is replayed once,
    /// whatever happens on the way: what was interrupted goes on at the next start, and nobody else can take these letters
    /// until then. The pipeline itself may run meanwhile. Small files `*.taken` beside the letters say for 30 days which of
    /// them were taken, should a pipeline that was killed write them again.
    #[command(after_help = "Examples:
  forebay replay --dry-run                       how many there are
  forebay replay --component warehouse           those that the sink `warehouse` has refused
  forebay replay --reason 'sc_status'            those whose reason says so
  forebay replay --from s3://archive/refused     those that were copied there")]
    Replay(Replay),
    /// Check a pipeline without opening anything, and say what it would do.
    ///
    /// All problems are reported at once, each with its line and what would have worked. A file that passes either
    /// runs, or fails on the world: the network, rights, a table on the far side.
    #[command(after_help = "Example: forebay check pipeline.toml --all-envs")]
    Check(Check),
    /// List the components, or print the reference page of one.
    #[command(after_help = "Examples:
  forebay components            all of them
  forebay components parquet    the page of one
  forebay components pipeline   the keys that every pipeline has")]
    Components(Components),
    /// Print the JSON Schema of pipeline files, for editors to complete and check them.
    #[command(after_help = "Example: forebay schema > pipeline.schema.json
Then write as the first line of the pipeline: #:schema ./pipeline.schema.json")]
    Schema,
    /// Draw a pipeline.
    #[command(after_help = "Example: forebay graph --format dot | dot -Tsvg > pipeline.svg")]
    Graph(Graph),
    /// Look at what a source has taken and keeps on disk, or mend it.
    #[command(subcommand)]
    Spool(SpoolCommand),
    /// Print the statements that make tables of what the sinks deliver.
    #[command(after_help = "Example: forebay ddl --sink lake --dialect athena")]
    Ddl(Ddl),
}

impl Default for Command {
    fn default() -> Self {
        Self::Run(Run { file: FILE.into(), json: false, quiet: false, abandon_pending: false })
    }
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// The pipeline.
    #[arg(default_value = FILE)]
    pub file: PathBuf,
    /// Print what became of the rows as JSON at the end.
    #[arg(long)]
    pub json: bool,
    /// Show no progress.
    #[arg(short, long)]
    pub quiet: bool,
    /// Give up deliveries that a crash left open and that cannot be made again as they were, since the file was changed
    /// or the input is gone. Their rows are read again as far as they are there, and may be there twice.
    /// Goes on, too, where the file was changed while some sinks were behind others: rows between them may be lost or
    /// there twice.
    #[arg(long)]
    pub abandon_pending: bool,
}

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub struct Replay {
    /// The pipeline.
    #[arg(default_value = FILE)]
    pub file: PathBuf,
    /// Where the dead letters are: a directory or `s3://bucket/prefix`. By default where the pipeline keeps them.
    #[arg(long, value_name = "PLACE")]
    pub from: Option<String>,
    /// Only letters of this node.
    #[arg(long, value_name = "NODE")]
    pub component: Option<String>,
    /// Only letters whose reason contains this text.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Say what would be replayed, and do nothing. Letters in a queue are only counted.
    #[arg(long)]
    pub dry_run: bool,
    /// Give up what an interrupted replay has done where the file was changed since, so that it cannot go on: such letters
    /// are replayed from the beginning, and those of nodes that are gone stay. Rows may be there twice.
    #[arg(long)]
    pub abandon_pending: bool,
    /// Print what became of the letters as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The pipeline.
    #[arg(default_value = FILE)]
    pub file: PathBuf,
    /// Check the file as it is and in each of its environments.
    #[arg(long)]
    pub all_envs: bool,
    /// Say more: each node's columns with their types, and how transforms do their work.
    #[arg(long)]
    pub explain: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `components`.
#[derive(Debug, Args)]
pub struct Components {
    /// The component whose page is printed; `pipeline` for the keys that every pipeline has.
    pub name: Option<String>,
    /// Print the list, with the schema of each component, as JSON.
    #[arg(long, conflicts_with = "name")]
    pub json: bool,
}

/// Arguments of `graph`.
#[derive(Debug, Args)]
pub struct Graph {
    /// The pipeline.
    #[arg(default_value = FILE)]
    pub file: PathBuf,
    /// The language of the drawing.
    #[arg(long, default_value = "mermaid")]
    pub format: GraphFormat,
}

/// Arguments of `ddl`.
#[derive(Debug, Args)]
pub struct Ddl {
    /// The pipeline.
    #[arg(default_value = FILE)]
    pub file: PathBuf,
    /// Only this sink.
    #[arg(long, value_name = "NAME")]
    pub sink: Option<String>,
    /// The kind of SQL.
    #[arg(long, default_value = "duckdb")]
    pub dialect: DialectName,
}

/// What to do with a spool.
#[derive(Debug, Subcommand)]
pub enum SpoolCommand {
    /// Look at every frame of a spool, changing nothing. The exit code is 1 if something is damaged.
    #[command(after_help = "Example: forebay spool inspect ./data/web/spool")]
    Inspect(Spool),
    /// Write damaged segments anew with their whole frames, so that nothing stumbles over the damage. What is damaged is
    /// kept beside them until somebody removes it. The pipeline must not run.
    #[command(after_help = "Example: forebay spool repair ./data/web/spool")]
    Repair(Spool),
}

/// Arguments of `spool`.
#[derive(Debug, Args)]
pub struct Spool {
    /// The directory of the spool.
    pub directory: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// A language for graphs.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum GraphFormat {
    /// For Markdown pages.
    Mermaid,
    /// For Graphviz.
    Dot,
}

/// A kind of SQL.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum DialectName {
    /// Amazon Athena, over the Glue catalog.
    Athena,
    /// ClickHouse.
    Clickhouse,
    /// DuckDB.
    Duckdb,
}

impl From<DialectName> for Dialect {
    fn from(name: DialectName) -> Self {
        match name {
            DialectName::Athena => Self::Athena,
            DialectName::Clickhouse => Self::ClickHouse,
            DialectName::Duckdb => Self::DuckDb,
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
