//! The floor under calls into another process: a raw Unix socket, with the same bytes, as many in one write.
//!
//! The other process is this benchmark, started with [`ECHO`]. A caller writes [`BATCH`] requests at once, as
//! the row does while its process is busy; each answer is written by itself, as in the row, where one that
//! follows may end the process. Nothing here knows the library.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::floor::IN_FLIGHT;

/// The argument that makes this program the other end.
pub const ECHO: &str = "--echo";
/// The bytes of a request and of an answer: what `testing::traffic` shows for the row, heads included.
pub const REQUEST: usize = 68;
/// See [`REQUEST`].
pub const ANSWER: usize = 36;
/// How many requests go in one write.
pub const BATCH: usize = 64;

/// A connection to a process that answers each number with itself.
pub struct Socket {
    stream: UnixStream,
    other: Child,
}

impl Socket {
    /// Starts the other process.
    pub fn start() -> Self {
        let (stream, theirs) = UnixStream::pair().expect("a pair of sockets");
        let own = std::env::current_exe().expect("the benchmark has a path");
        let theirs: OwnedFd = theirs.into();
        let other = Command::new(own).arg(ECHO).stdin(Stdio::from(theirs)).spawn().expect("it starts again");
        Self { stream, other }
    }

    /// Sends [`IN_FLIGHT`] requests, reads as many answers, sends the next.
    pub fn in_flight(&self, count: u64) -> (Duration, u64) {
        let mut stream = &self.stream;
        let (mut out, mut back) = (vec![0; REQUEST * BATCH], vec![0; ANSWER * IN_FLIGHT as usize]);
        let start = Instant::now();
        let (mut sent, mut sum) = (0, 0);
        while sent < count {
            let now = IN_FLIGHT.min(count - sent);
            let mut left = sent..sent + now;
            while !left.is_empty() {
                let batch = (left.end - left.start).min(BATCH as u64) as usize;
                for request in out.chunks_mut(REQUEST).take(batch) {
                    let i = left.next().expect("one for each");
                    request[..8].copy_from_slice(&i.to_le_bytes());
                }
                stream.write_all(&out[..batch * REQUEST]).expect("the other reads");
            }
            let back = &mut back[..ANSWER * now as usize];
            stream.read_exact(back).expect("the other answers");
            sum += back.chunks(ANSWER).map(number).sum::<u64>();
            sent += now;
        }
        (start.elapsed(), sum)
    }

    /// Sends one request, and the next when the answer is there.
    pub fn one_at_a_time(&self, count: u64) -> (Duration, u64) {
        let mut stream = &self.stream;
        let (mut out, mut back) = ([0; REQUEST], [0; ANSWER]);
        let start = Instant::now();
        let mut sum = 0;
        for i in 0..count {
            out[..8].copy_from_slice(&i.to_le_bytes());
            stream.write_all(&out).expect("the other reads");
            stream.read_exact(&mut back).expect("the other answers");
            sum += number(&back);
        }
        (start.elapsed(), sum)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        let _ = self.other.wait();
    }
}

fn number(message: &[u8]) -> u64 {
    let bytes = message.first_chunk().expect("a message is longer");
    u64::from_le_bytes(*bytes)
}

/// The other end: answers until the socket closes.
pub fn echo() {
    let fd = std::os::fd::AsFd::as_fd(&std::io::stdin()).try_clone_to_owned().expect("its standard input");
    let mut stream = UnixStream::from(fd);
    let (mut buffer, mut filled) = (vec![0; 64 * 1024], 0);
    let mut answer = [0; ANSWER];
    while let Ok(read @ 1..) = stream.read(&mut buffer[filled..]) {
        filled += read;
        let whole = filled / REQUEST * REQUEST;
        for request in buffer[..whole].chunks(REQUEST) {
            answer[..8].copy_from_slice(&request[..8]);
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
    }
}
