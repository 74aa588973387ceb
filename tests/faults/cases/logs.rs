//! Names that would forge a line or drive a terminal.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::{Command, Stdio};

use tnet_fileinfo::is_plain;
use tnet_testkit::{Cli, Network, SOON, eventually};

use crate::support::case::cases;

cases![
    79 "file names with line ends, escape sequences, priorities and marks that reorder text"
        names_stay_text_wherever_they_are_shown;
];

/// What a forged line would begin with.
const FORGED: &str = "2031-01-01T00:00:00Z ERROR forged";

/// Names that the file system takes, each made to act where it is shown.
fn names() -> Vec<OsString> {
    let mut names: Vec<Vec<u8>> = [
        format!("a\n{FORGED}"),
        format!("a\r\n<0>{FORGED}"),
        format!("a\u{85}{FORGED}"),
        format!("a\u{2028}{FORGED}"),
        format!("<0>{FORGED}"),
        format!("a\x1b[2J\x1b[H{FORGED}"),
        "a\x1b]0;title\x07".to_owned(),
        "a\u{9b}31mred".to_owned(),
        "photo\u{202e}gpj.exe".to_owned(),
        "photo\u{2067}gpj.exe\u{2069}".to_owned(),
        "invisible\u{200b}\u{feff}".to_owned(),
        "tab\tand\x0b\x0c\x08\x7f".to_owned(),
        "plain".to_owned(),
    ]
    .into_iter()
    .map(String::into_bytes)
    .collect();
    names.push(b"no text \xff\x9b31m\xc2".to_vec());
    names.into_iter().map(OsString::from_vec).collect()
}

/// Panics if the text has a character that acts; counts lines that a name forged.
fn forged_lines(what: &str, text: &str) -> usize {
    for line in text.lines() {
        assert!(line.chars().all(is_plain), "{what} has a character that acts: {line:?}");
    }
    text.lines().filter(|line| line.trim_start_matches(['<', '0', '>']).starts_with(FORGED)).count()
}

/// The same, of a log: every line begins as the log begins its lines.
fn forged_log_lines(what: &str, text: &str, begins: impl Fn(&str) -> bool) -> usize {
    assert!(text.lines().count() > names().len(), "{what} names every file: {text}");
    forged_lines(what, text) + text.lines().filter(|line| !begins(line)).count()
}

/// The command as a service whose standard error is the journal.
fn in_the_journal(cli: &Cli, args: &[&str]) -> Command {
    let plain = cli.command(args);
    let mut shell = Command::new("sh");
    shell.args(["-c", "JOURNAL_STREAM=$(stat -L -c %d:%i /dev/stderr) exec \"$0\" \"$@\""]);
    shell.arg(plain.get_program()).args(plain.get_args());
    shell.current_dir(cli.home()).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    shell.envs(
        plain.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))),
    );
    shell
}

async fn names_stay_text_wherever_they_are_shown() -> String {
    let network = Network::builder().start().await;
    let (ann, bob) = (network.user("ann"), network.user("bob"));
    let dir = ann.path("shared");
    fs::create_dir(&dir).expect("a home is writable");
    for (number, name) in names().iter().enumerate() {
        fs::write(dir.join(name), format!("content {number}"))
            .expect("this file system takes the name");
    }
    let mut forged = 0;

    // The log of a server in the background, and what commands show of it.
    let server = ann.server(["--dir", "shared", "-v"]).await;
    let log = || fs::read(ann.path("state/server.log")).expect("a server has a log");
    let shares_all = |log: &[u8]| {
        let text = String::from_utf8_lossy(log).into_owned();
        let count = text.matches("sharing path=").count();
        if count >= names().len() { Ok(text) } else { Err(text) }
    };
    let text = eventually("every file is shared", SOON, async || shares_all(&log())).await;
    let is_time =
        |line: &str| line.starts_with("20") && !line.starts_with("2031") && line.contains('Z');
    forged += forged_log_lines("the log", &text, is_time);

    let mut shown = 0;
    let path = |name: &OsStr| Path::new("shared").join(name).into_os_string();
    let mut commands: Vec<Vec<OsString>> = vec![
        vec!["ls".into()],
        vec!["ls".into(), "--json".into()],
        vec!["status".into()],
        vec!["status".into(), "--json".into()],
    ];
    for name in names() {
        let (file, info) = (path(&name), "a.fileinfo".into());
        let and = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let absent = path(OsStr::from_bytes(&[name.as_bytes(), b"!"].concat()));
        commands.push(
            [and(&["create", "--overwrite", "-o", "a.fileinfo"]), vec![file.clone()]].concat(),
        );
        commands.push(
            [and(&["create", "--json", "--overwrite", "-o", "a.fileinfo"]), vec![file.clone()]]
                .concat(),
        );
        commands.push(vec!["verify".into(), file.clone(), info]);
        commands.push(vec!["verify".into(), absent.clone(), file.clone()]);
        commands.push(vec!["pause".into(), file.clone()]);
        commands.push(vec!["pause".into(), absent.clone()]);
        commands.push(vec!["get".into(), absent.clone(), "--foreground".into()]);
        commands.push([and(&["get", "a.fileinfo", "--json", "-o"]), vec![absent]].concat());
        commands.push([and(&["start-server", "--dir"]), vec![file]].concat());
    }
    for command in &commands {
        let finished = ann.run(command).await;
        let (out, err) = (&finished.stdout, &finished.stderr);
        assert!(!out.is_empty() || !err.is_empty() || finished.code == Some(0), "{finished:?}");
        forged += forged_lines("standard output", out) + forged_lines("standard error", err);
        shown += 1;
    }
    let after = String::from_utf8_lossy(&log()).into_owned();
    forged += forged_log_lines("the log", &after, is_time);
    drop(server);

    // A service, whose lines begin with a priority that the journal believes.
    fs::rename(&dir, bob.path("shared")).expect("one file system");
    let args = ["start-server", "--foreground", "-v", "--listen", "127.0.0.1:0", "--dir", "shared"];
    let service = bob.start_command(in_the_journal(&bob, &args));
    let journal =
        eventually("every file is shared", SOON, async || shares_all(service.stderr().as_bytes()))
            .await;
    let is_line = |line: &str| {
        line.get(..3).is_some_and(|head| ["<4>", "<6>", "<7>"].contains(&head))
            && !line.get(3..).is_some_and(|rest| rest.starts_with(FORGED) || rest.starts_with('<'))
    };
    forged += forged_log_lines("the journal", &journal, is_line);
    assert_eq!(forged, 0, "lines that a name forged");
    format!(
        "{} names, 2 logs, {shown} commands: 0 lines forged, 0 characters that act",
        names().len()
    )
}
