//! `tnet-micro` prints the time of each hot path; `tnet-micro NAME --times N` runs one N times and
//! prints nothing, for programs that count instructions
//! ([`bench/instructions.py`](../../instructions.py)).

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints figures")]

mod work;

use std::hint::black_box;
use std::time::{Duration, Instant};

use clap::Parser;
use work::{Work, all};

/// A measurement of time takes at least this long.
const LONG_ENOUGH: Duration = Duration::from_millis(300);

/// Measures the hot paths one by one on fixed inputs.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Run only this path
    name: Option<String>,

    /// Run it this many times, and print nothing
    #[arg(long, requires = "name")]
    times: Option<u64>,
}

fn main() -> std::process::ExitCode {
    let args = Args::parse();
    let mut chosen: Vec<Work> = all().into_iter().filter(|work| is_chosen(work, &args)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = all().iter().map(|work| work.name).collect();
        eprintln!("tnet-micro: there is no such path; there are {}", names.join(", "));
        return std::process::ExitCode::from(2);
    }
    for work in &mut chosen {
        let mut step = (work.prepare)();
        match args.times {
            Some(times) => (0..times).for_each(|_| {
                black_box(step());
            }),
            None => println!("{:18} {:10.1} ns  {}", work.name, time(&mut step), work.about),
        }
    }
    std::process::ExitCode::SUCCESS
}

fn is_chosen(work: &Work, args: &Args) -> bool {
    args.name.as_ref().is_none_or(|name| *name == work.name)
}

/// Nanoseconds of one step.
fn time(step: &mut work::Step) -> f64 {
    let mut times = 1;
    loop {
        let began = Instant::now();
        (0..times).for_each(|_| {
            black_box(step());
        });
        let took = began.elapsed();
        if took >= LONG_ENOUGH {
            return took.as_secs_f64() * 1e9 / f64::from(times);
        }
        times *= 2;
    }
}
