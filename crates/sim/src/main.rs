//! `tnet-sim`: runs one world or many seeds of it and prints the results. Exit code 1 if a rule was
//! broken, 2 if the arguments are invalid.

mod args;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use clap::Parser;
use tnet_sim::{GeometryError, Outcome, Parameters, Simulation, Trace, drawn};

use args::{Args, SeedRange};

fn main() -> ExitCode {
    let args = Args::parse();
    let parameters = match args.parameters() {
        Ok(parameters) => parameters,
        Err(error) => return complain(&error),
    };
    let seeds = args.seeds.clone().unwrap_or(SeedRange(args.seed..=args.seed));
    match run_all(&args, &parameters, &seeds) {
        Ok(failed) if failed.is_empty() => ExitCode::SUCCESS,
        Ok(failed) => {
            let _ = writeln!(
                io::stderr(),
                "failed: {failed:?}; replay one with the same arguments and --seed instead of --seeds"
            );
            ExitCode::FAILURE
        }
        Err(error) => complain(&error),
    }
}

/// Runs every seed, several at a time, and returns those that broke a rule.
fn run_all(
    args: &Args,
    parameters: &Parameters,
    seeds: &SeedRange,
) -> Result<Vec<u64>, GeometryError> {
    let is_many = seeds.0.start() != seeds.0.end();
    let (next, began) = (AtomicU64::new(*seeds.0.start()), Instant::now());
    let beyond = seeds.0.end().saturating_add(1);
    let found = Mutex::new((Vec::new(), None));
    // The traces of two worlds would be mixed.
    let workers = if args.trace { 1 } else { args.jobs.get() };
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > *seeds.0.end() {
                return;
            }
            let outcome = run(args, seed, parameters);
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            match outcome {
                Ok(outcome) => {
                    if !outcome.is_right() {
                        found.0.push(seed);
                    }
                    // Of thousands of worlds, print only those that broke a rule.
                    let is_shown = !(args.drawn && is_many && outcome.is_right());
                    if is_shown && show(args, is_many, &outcome).is_err() {
                        next.store(beyond, Ordering::Relaxed); // The reader of the output is gone.
                    }
                }
                Err(error) => {
                    found.1 = Some(error);
                    next.store(beyond, Ordering::Relaxed);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    let (mut failed, error) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = error {
        return Err(error);
    }
    failed.sort_unstable();
    if args.drawn && is_many {
        let (from, to) = (seeds.0.start(), seeds.0.end());
        let _ = writeln!(
            io::stdout(),
            "seeds {from}..{to}: {} worlds, {} failed, {:.0} s",
            to - from + 1,
            failed.len(),
            began.elapsed().as_secs_f64()
        );
    }
    Ok(failed)
}

fn run(args: &Args, seed: u64, parameters: &Parameters) -> Result<Outcome, GeometryError> {
    let trace = match args.trace {
        true => Trace::Lines(Box::new(io::BufWriter::new(io::stdout()))),
        false => Trace::Off,
    };
    let (scenario, parameters) = match args.drawn {
        true => drawn(seed, parameters),
        false => (args.scenario, Parameters { seed, ..parameters.clone() }),
    };
    Ok(Simulation::new(scenario.world(&parameters), trace)?.run())
}

fn show(args: &Args, is_many: bool, outcome: &Outcome) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, outcome)?;
        writeln!(out)?;
    } else if args.brief || is_many {
        writeln!(out, "{}", outcome.headline())?;
        outcome.breaches.iter().try_for_each(|breach| writeln!(out, "  {breach}"))?;
    } else {
        write!(out, "{outcome}")?;
    }
    out.flush()
}

fn complain(error: &dyn std::error::Error) -> ExitCode {
    let _ = writeln!(io::stderr(), "tnet-sim: {error}");
    ExitCode::from(2)
}
