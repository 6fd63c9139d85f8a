//! Rounds, and the table at the end.

use std::error::Error;

use crate::measure::{Taken, measured};

/// One of the jobs that take turns.
pub struct Job {
    pub name: &'static str,
    pub command: Vec<String>,
    /// Puts away what the round before left.
    pub before: Box<dyn Fn() -> Result<(), Box<dyn Error>>>,
    pub taken: Vec<Taken>,
}

impl Job {
    pub fn new(
        name: &'static str,
        command: Vec<String>,
        before: impl Fn() -> Result<(), Box<dyn Error>> + 'static,
    ) -> Self {
        Self { name, command, before: Box::new(before), taken: Vec::new() }
    }

    /// The least of something over all rounds.
    pub fn best(&self, of: impl Fn(&Taken) -> f64) -> f64 {
        self.taken.iter().map(of).fold(f64::INFINITY, f64::min)
    }

    fn median(&self, of: impl Fn(&Taken) -> f64) -> f64 {
        let mut all: Vec<f64> = self.taken.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    }

    fn most_resident_mib(&self) -> f64 {
        self.taken.iter().map(|it| it.resident_kib as f64 / 1024.0).fold(0.0, f64::max)
    }
}

/// Lets the jobs take turns.
pub fn take_turns(jobs: &mut [Job], rounds: usize) -> Result<(), Box<dyn Error>> {
    // The first round warms the page cache, and does not count.
    for round in 0..=rounds {
        for job in &mut *jobs {
            (job.before)()?;
            let taken = measured(&job.command)?;
            if round > 0 {
                job.taken.push(taken);
            }
        }
    }
    Ok(())
}

/// Shows rows for each CPU second, the first job being the one that the others are held against.
#[allow(clippy::print_stdout, reason = "this is what the program is for")]
pub fn show(title: &str, jobs: &[Job], rows: u64, bytes: u64) {
    println!("{title}: {rows} rows, {:.0} MB of lines", bytes as f64 / 1e6);
    println!(
        "{:<26} {:>12} {:>12} {:>9} {:>9} {:>10} {:>8}",
        "", "rows/CPU-s", "(median)", "MB/CPU-s", "wall s", "peak MiB", "ratio"
    );
    let cpu = |it: &Taken| it.cpu_s;
    let first = jobs.first().map_or(1.0, |it| it.best(cpu));
    for job in jobs {
        println!(
            "{:<26} {:>12.0} {:>12.0} {:>9.0} {:>9.2} {:>10.0} {:>8.2}",
            job.name,
            rows as f64 / job.best(cpu),
            rows as f64 / job.median(cpu),
            bytes as f64 / 1e6 / job.best(cpu),
            job.best(|it| it.wall_s),
            job.most_resident_mib(),
            job.best(cpu) / first,
        );
    }
    println!("ratio: CPU time held against `{}`", jobs.first().map_or("", |it| it.name));
}
