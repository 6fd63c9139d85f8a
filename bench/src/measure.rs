//! What a process takes.

use std::error::Error;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::resource::{Usage, UsageWho, getrusage};
use serde::{Deserialize, Serialize};

use crate::Outcome;

/// What one run of a process took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Taken {
    /// User and system time of the process and what it started, in seconds.
    pub cpu_s: f64,
    /// On the wall, in seconds.
    pub wall_s: f64,
    /// The most memory that was resident, in KiB.
    pub resident_kib: i64,
}

/// Runs a command and says what it took.
///
/// It runs below a process of its own, since the kernel adds up what all children of a process took.
pub fn measured(command: &[String]) -> Result<Taken, Box<dyn Error>> {
    let output = Command::new(std::env::current_exe()?).arg("measure").arg("--").args(command).output()?;
    if !output.status.success() {
        return Err(format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(serde_json::from_str(text.lines().last().ok_or("nothing was measured")?)?)
}

/// The other end of [`measured`].
#[allow(clippy::print_stdout, reason = "its only answer")]
pub fn measured_here(command: &[String]) -> Outcome {
    let [program, arguments @ ..] = command else { return Err("no command".into()) };
    let begun = Instant::now();
    let output = Command::new(program).args(arguments).output()?;
    let wall_s = begun.elapsed().as_secs_f64();
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        return Err(format!("{program} ended with {}: {}", output.status, String::from_utf8_lossy(&said)).into());
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cpu_s = cpu_s(&usage);
    println!("{}", serde_json::to_string(&Taken { cpu_s, wall_s, resident_kib: usage.max_rss() })?);
    Ok(())
}

/// User and system time, in seconds.
pub fn cpu_s(usage: &Usage) -> f64 {
    let seconds =
        |it: nix::sys::time::TimeVal| Duration::from_secs(it.tv_sec() as u64).as_secs_f64() + it.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}
