//! Generates what a package ships besides the program: shell completions and man pages, both from
//! the definition of the command line.

use std::fs;
use std::io::Write;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use serde_json::json;

use crate::config::typed::Cli;
use crate::exit::{EXIT_CODES, Exit};
use crate::failure::{Failure, file_failure};
use crate::render::Output;
use crate::render::output::{Report, fields};
use crate::render::units::shown_path;

/// Prints the completions of a shell.
pub(crate) fn completions(shell: Shell, output: Output) -> Report {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tnet", &mut script);
    output.data(String::from_utf8_lossy(&script).trim_end());
    fields(json!({ "shell": shell.to_string() }))
}

/// Writes the man pages into a directory.
pub(crate) fn man(dir: &Path, output: Output) -> Result<Report, Failure> {
    fs::create_dir_all(dir).map_err(|error| file_failure("make the directory", dir, &error))?;
    let mut root = Cli::command();
    root.build();
    let mut pages = Vec::new();
    write_pages(&root, dir, &mut pages)?;
    output.outcome(&format!("{} pages in {}", pages.len(), shown_path(dir)));
    Ok(fields(json!({ "pages": pages })))
}

/// Writes the page of this command and of its subcommands.
fn write_pages(
    command: &clap::Command,
    dir: &Path,
    pages: &mut Vec<String>,
) -> Result<(), Failure> {
    // By now it has its whole name, as in `tnet config show`.
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let page = dir.join(format!("{name}.1"));
    let text = page_of(command, &name).map_err(|error| {
        Failure::new(Exit::Other, format!("cannot write the page of {name}: {error}"))
    })?;
    fs::write(&page, text).map_err(|error| file_failure("write", &page, &error))?;
    pages.push(format!("{name}.1"));
    for below in
        command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help")
    {
        write_pages(below, dir, pages)?;
    }
    Ok(())
}

fn page_of(command: &clap::Command, name: &str) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command.clone()).title(name).render(&mut page)?;
    if name != "tnet" {
        writeln!(page, ".SH \"EXIT STATUS\"\n.nf")?;
        for line in EXIT_CODES.lines().skip(1) {
            writeln!(page, "{}", line.trim_start())?;
        }
        writeln!(page, ".fi\n.SH \"SEE ALSO\"\ntnet(1)")?;
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use crate::render::output::Flags;

    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let output = Output::new(Flags { json: false, quiet: true, verbose: false });
        man(dir.path(), output).expect("writable");
        let text = |name: &str| fs::read_to_string(dir.path().join(name)).expect(name);
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let page = text(&format!("tnet-{}.1", command.get_name()));
            assert!(page.contains(".SH SYNOPSIS") && page.contains("Example:"), "{page}");
        }
        assert!(text("tnet.1").contains("tnet\\-get(1)"));
        assert!(text("tnet-config-show.1").contains("Show every setting"));
        assert!(!dir.path().join("tnet-man.1").exists(), "it is for packagers");
    }

    #[test]
    fn every_shell_gets_a_script_that_knows_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tnet", &mut script);
            let script = String::from_utf8(script).expect("text");
            assert!(script.contains("start-server") && script.contains("limit-up"), "{shell}");
        }
    }
}
