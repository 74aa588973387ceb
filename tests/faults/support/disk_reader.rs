//! From the calls of a trace to changes of a disk. A call that changes the files in a way that is
//! not modelled is refused.

use std::path::{Path, PathBuf};

use super::disk_log::{Change, DiskLog, Done, Object, Which};
use super::strace::Call;

/// Makes sense of calls.
pub(super) struct Reader {
    out: PathBuf,
}

impl Reader {
    /// Of the calls of a download to `out`.
    pub(super) fn of(out: &Path) -> Reader {
        Reader { out: out.to_owned() }
    }

    /// Adds a call to the log. Its lines are counted `from` there.
    pub(super) fn add(&self, log: &mut DiskLog, call: &Call, from: usize) {
        if call.returned.is_some_and(|returned| returned < 0) {
            return;
        }
        let (began, ended) = (from + call.began, call.ended.map(|ended| from + ended));
        let arguments = split(&call.arguments);
        let argument = |number: usize| arguments.get(number).map_or("", String::as_str);
        let number =
            |at: usize| argument(at).parse::<usize>().unwrap_or_else(|_| panic!("{call:?}"));
        let file =
            || self.file(argument(0)).unwrap_or_else(|| panic!("which file is that? {call:?}"));
        let name =
            |at: usize| String::from_utf8(unquoted(argument(at))).expect("the names are text");
        let change = match call.name.as_str() {
            "openat" if argument(2).contains("O_CREAT") => {
                let name = name(1);
                let file = if name.ends_with(".journal") { Which::Journal } else { Which::Data };
                Change::Create { name, file }
            }
            "openat" | "flock" | "clone" | "clone3" => return,
            "pwrite64" => Change::Write {
                file: file(),
                offset: number(3),
                bytes: written(call, unquoted(argument(1))),
            },
            "fallocate" => Change::Reserve { file: file(), len: number(2) + number(3) },
            "ftruncate" => Change::Truncate { file: file(), len: number(1) },
            "unlinkat" => Change::Remove { name: name(1) },
            "renameat" | "renameat2" => Change::Rename { from: name(1), to: name(3) },
            "fsync" | "fdatasync" => {
                let what = self.file(argument(0)).map_or(Object::Names, Object::File);
                log.syncs.push(Done { what, began, ended });
                return;
            }
            other => panic!("{other} changes the disk in a way that is not modelled: {call:?}"),
        };
        log.changes.push(Done { what: change, began, ended });
    }

    /// The file behind a descriptor that was shown with its path.
    fn file(&self, descriptor: &str) -> Option<Which> {
        let path = descriptor.split_once('<')?.1.strip_suffix('>')?;
        let path = String::from_utf8(unescaped(path)).ok()?;
        let path = path.strip_suffix(" (deleted)").unwrap_or(&path);
        let out = self.out.to_string_lossy();
        match path.strip_prefix(&*out)? {
            "" | ".partial" => Some(Which::Data),
            ".partial.journal" => Some(Which::Journal),
            _ => None,
        }
    }
}

/// Only what the system took of it.
fn written(call: &Call, mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(count) = call.returned.and_then(|count| usize::try_from(count).ok()) {
        bytes.truncate(count);
    }
    bytes
}

/// Arguments at commas that are in no string and no path.
fn split(arguments: &str) -> Vec<String> {
    let (mut quoted, mut parts, mut part) = (false, Vec::new(), String::new());
    for c in arguments.chars() {
        match c {
            ',' if !quoted => parts.push(std::mem::take(&mut part).trim().to_owned()),
            _ => {
                quoted ^= c == '"';
                part.push(c);
            }
        }
    }
    parts.push(part.trim().to_owned());
    parts
}

fn unquoted(argument: &str) -> Vec<u8> {
    unescaped(argument.trim_matches('"'))
}

/// Bytes that may be written as `\x2f`.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x") {
        bytes.extend_from_slice(before.as_bytes());
        let (hex, more) = after.split_at(2);
        bytes.push(u8::from_str_radix(hex, 16).expect("two digits follow"));
        rest = more;
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}
