//! What a child prints, in lines, and how many of them are shown.

use std::time::{Duration, Instant};

/// How long a line may be before it is split.
pub(super) const LINE_MAX: usize = 64 * 1024;

/// How many lines of a child are shown in a second, and at once.
pub(super) const LINES_A_SECOND: u32 = 1_000;

/// Puts pieces of a stream together to lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Takes in a piece, and says each line that it ends.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut say: impl FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.append(&bytes[..end], &mut say);
            say(&self.partial);
            self.partial.clear();
            bytes = &bytes[end + 1..];
        }
        self.append(bytes, &mut say);
    }

    /// Says what no newline ended.
    pub(super) fn end(&mut self, mut say: impl FnMut(&[u8])) {
        if !self.partial.is_empty() {
            say(&self.partial);
            self.partial.clear();
        }
    }

    fn append(&mut self, mut bytes: &[u8], say: &mut impl FnMut(&[u8])) {
        while self.partial.len() + bytes.len() > LINE_MAX {
            let (now, rest) = bytes.split_at(LINE_MAX - self.partial.len());
            self.partial.extend_from_slice(now);
            // A character is not split; what is no text at all is.
            let starts = |byte: &u8| *byte & 0xC0 != 0x80;
            let whole = match rest.first() {
                Some(next) if !starts(next) => {
                    let last = self.partial.iter().rposition(starts).unwrap_or(LINE_MAX);
                    if LINE_MAX - last < 4 { last } else { LINE_MAX }
                }
                _ => LINE_MAX,
            };
            say(&self.partial[..whole]);
            self.partial.drain(..whole);
            bytes = rest;
        }
        self.partial.extend_from_slice(bytes);
    }
}

/// So many lines a second and at once; when they are used up, none until all have come back.
///
/// That a flood is shown in blocks, and not a line here and there, keeps what it says readable.
#[derive(Debug)]
pub(super) struct Bucket {
    full: u32,
    left: f64,
    at: Instant,
    is_muted: bool,
}

impl Bucket {
    pub(super) fn new(lines_a_second: u32, now: Instant) -> Self {
        Self { full: lines_a_second, left: lines_a_second.into(), at: now, is_muted: false }
    }

    /// Whether one more line may be shown.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.is_muted |= self.left < 1.0;
        if self.is_muted {
            return false;
        }
        self.left -= 1.0;
        true
    }

    /// Whether lines may be shown again; looking takes none.
    pub(super) fn is_open(&mut self, now: Instant) -> bool {
        self.refill(now);
        !self.is_muted
    }

    fn refill(&mut self, now: Instant) {
        let full = f64::from(self.full);
        let passed = now.saturating_duration_since(self.at);
        self.at = now;
        self.left = (self.left + full * passed.as_secs_f64()).min(full);
        // As good as full: what rounding took does not count.
        self.is_muted &= self.left < full - 0.5;
    }
}

/// How long a muted bucket stays so.
pub(super) const MUTED: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut said) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.feed(piece, |line| said.push(String::from_utf8_lossy(line).into_owned()));
        }
        lines.end(|line| said.push(String::from_utf8_lossy(line).into_owned()));
        said
    }

    #[test]
    fn lines_are_found_however_they_come() {
        assert_eq!(lines(&[b"one\ntwo\n"]), ["one", "two"]);
        assert_eq!(lines(&[b"o", b"ne\nt", b"wo"]), ["one", "two"]);
        assert_eq!(lines(&[b"\n", b"\n"]), ["", ""]);
        assert_eq!(lines(&[b"bad \xFF byte"]), ["bad \u{FFFD} byte"]);
        assert!(lines(&[b""]).is_empty());
    }

    #[test]
    fn a_long_line_is_split_between_characters() {
        let long = vec![b'x'; LINE_MAX];
        assert_eq!(lines(&[&long, b"\n"]).len(), 1, "a line of just that length is one");
        let said = lines(&[&long, b"y\nz"]);
        assert_eq!(said.iter().map(String::len).collect::<Vec<_>>(), [LINE_MAX, 1, 1]);
        let wide = "ä".repeat(LINE_MAX);
        let said = lines(&[b"x", wide.as_bytes()]);
        assert_eq!(said.concat(), format!("x{wide}"));
        assert!(said.iter().all(|line| line.len() <= LINE_MAX));
        assert_eq!(lines(&[&vec![0x80; 3 * LINE_MAX]]).len(), 3);
    }

    #[test]
    fn a_flood_is_muted_until_the_bucket_is_full_again() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1000, start);
        let shown = |bucket: &mut Bucket, now| (0..5_000).filter(|_| bucket.take(now)).count();
        assert_eq!(shown(&mut bucket, start), 1000);
        assert_eq!(shown(&mut bucket, start + MUTED / 2), 0);
        assert!(!bucket.is_open(start + MUTED / 2));
        assert!(bucket.is_open(start + MUTED));
        assert_eq!(shown(&mut bucket, start + MUTED), 1000);
    }

    #[test]
    fn a_steady_stream_below_the_rate_is_never_muted() {
        let mut now = Instant::now();
        let mut bucket = Bucket::new(1000, now);
        for _ in 0..100_000 {
            now += Duration::from_micros(1_010);
            assert!(bucket.take(now));
        }
    }
}
