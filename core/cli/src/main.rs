//! The `forebay` program.

fn main() -> std::process::ExitCode {
    forebay_cli::main(forebay_cli::components())
}
