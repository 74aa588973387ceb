use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;
use std::thread;

use clap::{Parser, Subcommand, ValueEnum};

/// Chunks begin at a page, as they do in files. The C library's allocator begins large pieces 16
/// bytes behind one, and copies between two such places are slow on some processors: on AMD's Zen 3
/// the floor then takes 2.25 instead of 1.65 CPU seconds per GiB.
const PAGE: usize = 4096;

/// Measures the cost of a verified download without any decisions
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Sends the file on every connection, until killed
    Send { listen: SocketAddr, file: PathBuf },
    /// Receives, hashes and writes what the other side sends
    Receive {
        from: SocketAddr,
        output: PathBuf,
        /// Bytes read, hashed and written at a time, in KiB
        #[arg(long, default_value_t = 128)]
        chunk: usize,
        /// Buffers of that size that each thread uses in turn; many of them exceed the processor's
        /// cache
        #[arg(long, default_value_t = 1)]
        buffers: usize,
        /// Threads that take turns: one reads while the others hash and write what they have read
        /// themselves
        #[arg(long, default_value_t = 1)]
        threads: usize,
        /// What a second thread does with the pieces that the first has read, instead
        #[arg(long, value_enum, default_value_t = Beside::Nothing)]
        beside: Beside,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Beside {
    Nothing,
    Write,
    HashAndWrite,
}

pub(crate) fn main() -> io::Result<()> {
    match Args::parse().role {
        Role::Send { listen, file } => send_to_all(listen, &file),
        Role::Receive { from, output, chunk, buffers, threads, beside } => {
            let (stream, output) = (TcpStream::connect(from)?, File::create(output)?);
            let (chunk, buffers) = (chunk * 1024, buffers.max(1));
            if beside != Beside::Nothing {
                return hand_on(stream, &output, chunk, buffers, beside);
            }
            let received = Mutex::new(Received { stream, bytes: 0 });
            thread::scope(|scope| {
                let work = || take_turns(&received, &output, chunk, buffers);
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

/// Receives `chunk` bytes at a time, until the other side closes.
fn take_turns(
    received: &Mutex<Received>,
    output: &File,
    chunk: usize,
    buffers: usize,
) -> io::Result<()> {
    let mut pieces: Vec<Piece> = (0..buffers).map(|_| Piece::new(chunk)).collect();
    for turn in (0..buffers).cycle() {
        let piece = &mut pieces[turn];
        {
            let mut received =
                received.lock().map_err(|_| io::Error::other("a thread has panicked"))?;
            let at = received.bytes;
            received.bytes += piece.fill(&mut received.stream, at)? as u64;
        }
        if piece.filled == 0 {
            break;
        }
        piece.hash();
        piece.write(output)?;
    }
    Ok(())
}

/// One thread reads, another processes what it has read.
fn hand_on(
    mut stream: TcpStream,
    output: &File,
    chunk: usize,
    buffers: usize,
    beside: Beside,
) -> io::Result<()> {
    let (filled, to_write) = sync_channel::<Piece>(buffers);
    let (written, empty) = sync_channel(buffers);
    let gone = || io::Error::other("the other thread is gone");
    thread::scope(|scope| {
        let writer = scope.spawn(move || {
            for piece in to_write {
                if beside == Beside::HashAndWrite {
                    piece.hash();
                }
                piece.write(output)?;
                // At the end the reader has gone and the buffer is not needed.
                let _ = written.send(piece);
            }
            io::Result::Ok(())
        });
        let (mut new, mut at) = (buffers, 0);
        loop {
            let mut piece = match new.checked_sub(1) {
                Some(left) => {
                    new = left;
                    Piece::new(chunk)
                }
                None => empty.recv().map_err(|_| gone())?,
            };
            let read = piece.fill(&mut stream, at)?;
            if read == 0 {
                break;
            }
            if beside == Beside::Write {
                piece.hash();
            }
            filled.send(piece).map_err(|_| gone())?;
            at += read as u64;
        }
        drop(filled);
        writer.join().map_err(|_| gone())?
    })
}

/// Memory for a piece of the file, which begins at a page.
struct Piece {
    memory: Vec<u8>,
    start: usize,
    filled: usize,
    position: u64,
}

impl Piece {
    fn new(len: usize) -> Piece {
        let memory = vec![0; len + PAGE];
        let start = memory.as_ptr().addr().wrapping_neg() % PAGE;
        Piece { memory, start, filled: 0, position: 0 }
    }

    /// Returns the number of bytes read: less than a full buffer only at the end.
    fn fill(&mut self, stream: &mut TcpStream, position: u64) -> io::Result<usize> {
        let room = self.memory.len() - PAGE;
        self.filled = fill(stream, &mut self.memory[self.start..self.start + room])?;
        self.position = position;
        Ok(self.filled)
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.filled]
    }

    fn hash(&self) {
        // Keeps the compiler from removing the hash, which is compared with nothing.
        black_box(blake3::hash(self.bytes()));
    }

    fn write(&self, output: &File) -> io::Result<()> {
        output.write_all_at(self.bytes(), self.position)
    }
}

/// Bytes read: less than a full buffer only at the end.
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
