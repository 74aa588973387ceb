//! `tnet-sim`: one world or many seeds of it, and what came of them. Exit code 1 if a rule was broken, 2 if the
//! arguments make no sense.

mod args;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use tnet_sim::{Outcome, Parameters, Simulation, Trace};

use args::{Args, Seeds};

fn main() -> ExitCode {
    let args = Args::parse();
    let parameters = match args.parameters() {
        Ok(parameters) => parameters,
        Err(error) => return complain(&error),
    };
    let seeds = args.seeds.clone().unwrap_or(Seeds(args.seed..=args.seed));
    let is_many = seeds.0.start() != seeds.0.end();
    let mut failed = Vec::new();
    for seed in seeds.0 {
        let outcome = match run(&args, &Parameters { seed, ..parameters.clone() }) {
            Ok(outcome) => outcome,
            Err(error) => return complain(&error),
        };
        if !outcome.is_right() {
            failed.push(seed);
        }
        if show(&args, is_many, &outcome).is_err() {
            break; // Whoever read has seen enough.
        }
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    let _ = writeln!(
        io::stderr(),
        "failed: {failed:?}; replay one with the same arguments and --seed instead of --seeds"
    );
    ExitCode::FAILURE
}

fn run(args: &Args, parameters: &Parameters) -> Result<Outcome, tnet_sim::GeometryError> {
    let trace = match args.trace {
        true => Trace::Lines(Box::new(io::BufWriter::new(io::stdout()))),
        false => Trace::Off,
    };
    Ok(Simulation::new(args.scenario.world(parameters), trace)?.run())
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
