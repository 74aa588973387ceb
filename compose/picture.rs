//! Draws the picture that the demonstration shares: a part of the Mandelbrot set as a PNG of 5.8
//! MB, with the same bytes on every machine, since it uses only additions, multiplications and
//! integers. Compiled with `rustc` alone.

use std::io::{self, BufWriter, Write};

const WIDTH: usize = 1600;
const HEIGHT: usize = 1200;
/// Samples for each pixel, in each direction.
const FINE: usize = 2;
const MOST_STEPS: u32 = 600;
/// The centre of the picture, and how far it extends to the left and right.
const CENTRE: (f64, f64) = (-0.743_643_9, 0.131_825_9);
const REACH: f64 = 0.003;

/// Bytes of a stored block of deflate; the format allows no more.
const BLOCK: usize = 65_535;

fn main() -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    out.write_all(b"\x89PNG\r\n\x1a\n")?;
    let mut header = Vec::new();
    header.extend((WIDTH as u32).to_be_bytes());
    header.extend((HEIGHT as u32).to_be_bytes());
    header.extend([8, 2, 0, 0, 0]); // eight bits of each of red, green, blue; nothing special
    chunk(&mut out, b"IHDR", &header)?;
    chunk(&mut out, b"IDAT", &zlib(&rows()))?;
    chunk(&mut out, b"IEND", &[])?;
    out.flush()
}

/// Every row, each behind a byte that says that it is not filtered.
fn rows() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEIGHT * (1 + 3 * WIDTH));
    for y in 0..HEIGHT {
        bytes.push(0);
        for x in 0..WIDTH {
            bytes.extend(pixel(x, y));
        }
    }
    bytes
}

fn pixel(x: usize, y: usize) -> [u8; 3] {
    let mut sum = [0; 3];
    for point in 0..FINE * FINE {
        let (right, down) = (x * FINE + point % FINE, y * FINE + point / FINE);
        let step = 2.0 * REACH / (WIDTH * FINE) as f64;
        let re = CENTRE.0 - REACH + right as f64 * step;
        let im = CENTRE.1 - REACH * HEIGHT as f64 / WIDTH as f64 + down as f64 * step;
        for (sum, part) in sum.iter_mut().zip(colour(steps(re, im))) {
            *sum += part;
        }
    }
    sum.map(|part| (part / (FINE * FINE) as u32) as u8)
}

/// Iterations until the point has left the circle, at most `MOST_STEPS`.
fn steps(re: f64, im: f64) -> u32 {
    let (mut x, mut y) = (0.0, 0.0);
    for step in 0..MOST_STEPS {
        let (xx, yy) = (x * x, y * y);
        if xx + yy > 4.0 {
            return step;
        }
        (x, y) = (xx - yy + re, 2.0 * x * y + im);
    }
    MOST_STEPS
}

/// Night blue, over gold, to white and back, again and again; black inside.
fn colour(steps: u32) -> [u32; 3] {
    const STOPS: [[u32; 3]; 5] =
        [[0, 7, 100], [32, 107, 203], [237, 255, 255], [255, 170, 0], [0, 2, 0]];
    const WIDE: u32 = 32;
    if steps == MOST_STEPS {
        return [0; 3];
    }
    let (stop, within) = ((steps / WIDE) as usize % STOPS.len(), steps % WIDE);
    let (from, to) = (STOPS[stop], STOPS[(stop + 1) % STOPS.len()]);
    std::array::from_fn(|part| (from[part] * (WIDE - within) + to[part] * within) / WIDE)
}

/// Stored, not compressed: the picture is to be large.
fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let blocks = bytes.chunks(BLOCK);
    let last = blocks.len() - 1;
    for (number, block) in blocks.enumerate() {
        let len = block.len() as u16;
        out.push(u8::from(number == last));
        out.extend(len.to_le_bytes());
        out.extend((!len).to_le_bytes());
        out.extend(block);
    }
    let (mut low, mut high) = (1, 0);
    for byte in bytes {
        low = (low + u32::from(*byte)) % 65_521;
        high = (high + low) % 65_521;
    }
    out.extend((high << 16 | low).to_be_bytes());
    out
}

/// A part of a PNG: length, kind, content, and a sum over the last two.
fn chunk(out: &mut impl Write, kind: &[u8; 4], content: &[u8]) -> io::Result<()> {
    out.write_all(&(content.len() as u32).to_be_bytes())?;
    out.write_all(kind)?;
    out.write_all(content)?;
    out.write_all(&(!crc(crc(!0, kind), content)).to_be_bytes())
}

fn crc(sum: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(sum, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 }
        })
    })
}
