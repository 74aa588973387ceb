use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use clap::{Parser, Subcommand};

/// Chunks begin at a page, as they do in files. The C library's allocator begins large pieces 16 bytes behind one, and copies between
/// two such places are slow on some processors: on AMD's Zen 3 the floor then takes 2.25 instead of 1.65 CPU seconds per GiB.
const PAGE: usize = 4096;

/// What the bytes of a verified download cost when nobody decides anything
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Sends the file to everybody who connects, until killed
    Send { listen: SocketAddr, file: PathBuf },
    /// Receives, hashes and writes what the other side sends
    Receive {
        from: SocketAddr,
        output: PathBuf,
        /// Bytes read, hashed and written at a time, in KiB
        #[arg(long, default_value_t = 128)]
        chunk: usize,
        /// Pieces of memory of that size that each thread uses in turn; more of them fall out of the processor's cache
        #[arg(long, default_value_t = 1)]
        buffers: usize,
        /// Threads that take turns: one reads while the others hash and write what they have read themselves
        #[arg(long, default_value_t = 1)]
        threads: usize,
    },
}

pub(crate) fn main() -> io::Result<()> {
    match Args::parse().role {
        Role::Send { listen, file } => send_to_all(listen, &file),
        Role::Receive { from, output, chunk, buffers, threads } => {
            let received = Mutex::new(Received { stream: TcpStream::connect(from)?, bytes: 0 });
            let output = File::create(output)?;
            thread::scope(|scope| {
                let work = || take_turns(&received, &output, chunk * 1024, buffers.max(1));
                let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
                work()?;
                others.into_iter().try_for_each(|other| {
                    other.join().map_err(|_| io::Error::other("a thread has panicked"))?
                })
            })
        }
    }
}

fn send_to_all(listen: SocketAddr, file: &Path) -> io::Result<()> {
    let (listener, file) = (TcpListener::bind(listen)?, File::open(file)?);
    loop {
        let (stream, _) = listener.accept()?;
        let file = file.try_clone()?;
        thread::spawn(move || {
            let (end, mut position) = (file.metadata()?.len(), 0);
            while position < end {
                let left = usize::try_from(end - position).unwrap_or(usize::MAX);
                // The kernel moves the position on by what it took.
                if rustix::fs::sendfile(&stream, &file, Some(&mut position), left)? == 0 {
                    break;
                }
            }
            io::Result::Ok(())
        });
    }
}

struct Received {
    stream: TcpStream,
    bytes: u64,
}

/// Takes `chunk` bytes at a time, until the other side has closed.
fn take_turns(received: &Mutex<Received>, output: &File, chunk: usize, buffers: usize) -> io::Result<()> {
    let mut memory = vec![vec![0; chunk + PAGE]; buffers];
    for turn in (0..buffers).cycle() {
        let start = memory[turn].as_ptr().addr().wrapping_neg() % PAGE;
        let buffer = &mut memory[turn][start..start + chunk];
        let (position, filled) = {
            let mut received = received.lock().map_err(|_| io::Error::other("a thread has panicked"))?;
            let filled = fill(&mut received.stream, buffer)?;
            received.bytes += filled as u64;
            (received.bytes - filled as u64, filled)
        };
        if filled == 0 {
            break;
        }
        let bytes = &buffer[..filled];
        // With nothing to compare the hash with it would be left out.
        black_box(blake3::hash(bytes));
        output.write_all_at(bytes, position)?;
    }
    Ok(())
}

/// Bytes read: fewer than there is room for only at the end.
fn fill(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
