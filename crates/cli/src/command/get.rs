//! `tnet get`: one file, from many peers. The local server does it and goes on seeding, or this process does.

mod foreground;
mod handed_over;
mod target;

use std::time::Duration;

use tnet_fileinfo::FileInfo;
use tnet_peer::control::{GetRequest, Source};
use tokio_util::sync::CancellationToken;

use super::fileinfo;
use crate::args::{Get, Global, Wanted};
use crate::exit::{Exit, Failure};
use crate::render::Output;
use crate::render::output::Report;
use crate::render::units::shown_path;
use crate::settings;

pub(crate) async fn run(
    args: Get,
    global: &Global,
    output: Output,
    stop: CancellationToken,
) -> Result<Report, Failure> {
    // Read here too, before any server is started: what is wrong with it is the user's first question.
    let info = match &args.wanted {
        Wanted::Fileinfo(path) => Some(fileinfo::read(path).await?),
        Wanted::Hash(_) => None,
    };
    let out = target::choose(&args, info.as_ref()).await?;
    let source = match &args.wanted {
        Wanted::Fileinfo(path) => Source::Fileinfo(settings::absolute(path)?),
        Wanted::Hash(hash) => Source::Hash(*hash),
    };
    let request = GetRequest {
        source,
        out,
        overwrite: args.overwrite,
        timeout: (args.timeout > Duration::ZERO).then_some(args.timeout),
        follow: true,
    };
    let shown = shown_path(&request.out);
    let wanted = described(&args.wanted, info);
    let result = if args.foreground {
        foreground::run(request, wanted, args.linger, global, output, stop).await
    } else {
        handed_over::run(request, global, output, stop).await
    };
    result.map_err(|failure| with_hint(failure, &shown))
}

/// What is known of the file so far.
enum Described {
    Info(Box<FileInfo>),
    Hash(tnet_fileinfo::FileHash),
}

fn described(wanted: &Wanted, info: Option<FileInfo>) -> Described {
    match (wanted, info) {
        (Wanted::Hash(hash), _) => Described::Hash(*hash),
        (Wanted::Fileinfo(_), Some(info)) => Described::Info(Box::new(info)),
        (Wanted::Fileinfo(_), None) => unreachable!("a description that was named was read"),
    }
}

/// What the user can do about each way in which a download fails.
fn with_hint(failure: Failure, out: &str) -> Failure {
    let hint = match failure.exit {
        Exit::NoHolder => {
            "is a machine that has it running `tnet start-server`, with the same --coordinator?".to_owned()
        }
        Exit::Incomplete => {
            format!("what arrived is kept in {out}.partial: run the same command again to continue")
        }
        Exit::Network => "check --coordinator".to_owned(),
        Exit::Disk => "make room or choose another disk with -o, then run the same command again".to_owned(),
        _ => return failure,
    };
    failure.or_hint(&hint)
}

/// This command once more, as it can be pasted into a shell.
fn same_command() -> String {
    let words: Vec<String> = std::env::args_os().map(|word| quoted(&word.to_string_lossy())).collect();
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+[]".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_repeated_as_a_shell_would_read_it() {
        for (word, shown) in [
            ("get", "get"),
            ("/srv/a.iso", "/srv/a.iso"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", "'it'\\''s'"),
            ("$(reboot)", "'$(reboot)'"),
        ] {
            assert_eq!(quoted(word), shown);
        }
    }

    #[test]
    fn a_failure_that_says_what_to_do_keeps_its_own_words() {
        let own = Failure::new(Exit::Network, "unreachable; is it running?");
        assert_eq!(with_hint(own.clone(), "out"), own);
        let bare = with_hint(Failure::new(Exit::Incomplete, "stalled"), "out");
        assert!(bare.message.contains("out.partial"), "{}", bare.message);
    }
}
