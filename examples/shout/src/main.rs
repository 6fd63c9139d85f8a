//! A `forebay` that knows one transform more.

fn main() -> std::process::ExitCode {
    forebay_cli::main(forebay_cli::components().transform::<shout::Shout>())
}
