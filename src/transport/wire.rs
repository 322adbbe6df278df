//! Frames as bytes: how one is put into a stream and found again, with its descriptors. No I/O.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use bytes::{Buf, BytesMut};
use tokio_util::codec::{Decoder, LengthDelimitedCodec};

use crate::error::{Error, ErrorKind, Result};

/// The most bytes in a frame: larger values travel in shared memory.
pub(crate) const FRAME_MAX: usize = 8 * 1024 * 1024;

/// The most descriptors with a frame; the kernel takes up to 253 a message.
pub(crate) const DESCRIPTORS_MAX: usize = 32;

/// The length.
const LENGTH: usize = 4;

/// What stands before a frame's bytes: the length, and how many descriptors come with it.
pub(super) const HEAD: usize = LENGTH + 1;

/// What came, with exactly the descriptors that were sent with it.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: BytesMut,
    pub(crate) fds: Vec<OwnedFd>,
}

/// What the two ends of a connection say to each other, in place of a number of descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// There are rings, whose descriptor comes with this.
    Rings = 252,
    /// On the socket: the next frame comes by the ring.
    ToRing = 253,
    /// In the ring: the next frame comes by the socket.
    ToSocket = 254,
    /// On the socket, at any time: something is in the ring.
    Bell = 255,
}

impl Signal {
    const ALL: [Self; 4] = [Self::Rings, Self::ToRing, Self::ToSocket, Self::Bell];

    /// All of its frame.
    pub(super) fn frame(self) -> [u8; HEAD] {
        [0, 0, 0, 1, self as u8]
    }
}

/// What stands in a stream.
#[derive(Debug)]
pub(super) enum Piece {
    Frame(Frame),
    Signal(Signal, Vec<OwnedFd>),
}

/// The head of a frame; `Encode` for one that is too large.
pub(super) fn head(bytes: usize, descriptors: usize) -> Result<[u8; HEAD]> {
    let refused = |what: String| Err(Error::new(ErrorKind::Encode, what));
    if bytes > FRAME_MAX {
        return refused(format!("a frame of {bytes} bytes, where {FRAME_MAX} are the most"));
    }
    if descriptors > DESCRIPTORS_MAX {
        return refused(format!(
            "{descriptors} descriptors with a frame, where {DESCRIPTORS_MAX} are the most"
        ));
    }
    let [a, b, c, d] = (bytes as u32 + 1).to_be_bytes();
    Ok([a, b, c, d, descriptors as u8])
}

/// Descriptors that came with one read, and which bytes of the stream that read brought. They belong to
/// the one frame that starts there and asks for some.
#[derive(Debug)]
struct Parcel {
    start: u64,
    end: u64,
    fds: Vec<OwnedFd>,
}

/// What came in and is not taken out yet.
#[derive(Debug)]
pub(super) struct Inflow {
    codec: LengthDelimitedCodec,
    buffer: BytesMut,
    /// How far into the stream the buffer starts.
    at: u64,
    parcels: VecDeque<Parcel>,
    /// What broke the stream: nothing after it can be trusted.
    broken: Option<Error>,
}

impl Inflow {
    pub(super) fn new() -> Self {
        let codec = LengthDelimitedCodec::builder()
            .length_field_length(LENGTH)
            .max_frame_length(FRAME_MAX + 1)
            .new_codec();
        Self { codec, buffer: BytesMut::new(), at: 0, parcels: VecDeque::new(), broken: None }
    }

    /// Takes in what one read brought.
    pub(super) fn take_in(&mut self, bytes: &[u8], fds: Vec<OwnedFd>) {
        let start = self.at + self.buffer.len() as u64;
        self.buffer.extend_from_slice(bytes);
        if !fds.is_empty() {
            self.parcels.push_back(Parcel { start, end: start + bytes.len() as u64, fds });
        }
    }

    /// The next frame that is there as a whole.
    pub(super) fn next(&mut self) -> Result<Option<Piece>> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        self.decode().map_err(|error| self.break_off(error))
    }

    /// Whether [`next`](Self::next) has something to say.
    pub(super) fn has_next(&self) -> bool {
        let length = self.length();
        self.broken.is_some()
            || length.is_some_and(|length| !(1..=FRAME_MAX + 1).contains(&length))
            || length.is_some_and(|length| self.buffer.len() >= LENGTH + length)
            || self.none_yet().is_err()
    }

    /// Nothing comes any more: a frame that has begun is cut off.
    pub(super) fn end(&mut self) -> Result<()> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        if self.buffer.is_empty() {
            return Ok(());
        }
        let wanted = self.length().map_or("a head".into(), |length| format!("{} bytes", LENGTH + length));
        let text = format!("the stream ended after {} of {wanted}", self.buffer.len());
        Err(self.break_off(decode_error(text)))
    }

    /// Says `error` from now on; all descriptors go.
    pub(super) fn break_off(&mut self, error: Error) -> Error {
        self.parcels.clear();
        self.broken.insert(error).clone()
    }

    fn decode(&mut self) -> Result<Option<Piece>> {
        let Some(length) = self.length() else { return self.none_yet() };
        match length {
            0 => return Err(decode_error("a frame without a head")),
            1.. if length > FRAME_MAX + 1 => {
                let text = format!("a frame of {} bytes, where {FRAME_MAX} are the most", length - 1);
                return Err(decode_error(text));
            }
            _ => {}
        }
        if self.buffer.len() < LENGTH + length {
            self.buffer.reserve(LENGTH + length - self.buffer.len());
            return self.none_yet();
        }
        let decoded = self.codec.decode(&mut self.buffer);
        let Some(mut bytes) = decoded.map_err(|error| decode_error(error.to_string()))? else {
            return Ok(None);
        };
        let start = self.at;
        self.at += (LENGTH + length) as u64;
        let wanted = bytes.get_u8();
        let Some(signal) = Signal::ALL.into_iter().find(|signal| *signal as u8 == wanted) else {
            let fds = self.descriptors(start, usize::from(wanted))?;
            return Ok(Some(Piece::Frame(Frame { bytes, fds })));
        };
        if !bytes.is_empty() {
            return Err(decode_error("a signal with bytes"));
        }
        let fds = self.descriptors(start, usize::from(signal == Signal::Rings))?;
        Ok(Some(Piece::Signal(signal, fds)))
    }

    /// The length that the next frame claims. The codec takes it out together with the whole frame, never
    /// before, so that the buffer always starts with a head.
    fn length(&self) -> Option<usize> {
        self.buffer.first_chunk().map(|field| u32::from_be_bytes(*field) as usize)
    }

    /// What is left is the beginning of one frame at most, so descriptors came with that or with nothing.
    fn none_yet(&self) -> Result<Option<Piece>> {
        match self.parcels.iter().find(|parcel| !(parcel.start..parcel.end).contains(&self.at)) {
            None => Ok(None),
            Some(parcel) => Err(surplus(parcel)),
        }
    }

    /// The descriptors of the frame that started at `start`.
    fn descriptors(&mut self, start: u64, wanted: usize) -> Result<Vec<OwnedFd>> {
        let mut came = Vec::new();
        if wanted > 0
            && self.parcels.front().is_some_and(|parcel| (parcel.start..parcel.end).contains(&start))
        {
            came = self.parcels.pop_front().map_or(came, |parcel| parcel.fds);
        }
        if came.len() != wanted {
            let text = format!("{} descriptors came with a frame that was sent with {wanted}", came.len());
            return Err(decode_error(text));
        }
        // What is taken out wholly by now can belong to no later frame.
        match self.parcels.front() {
            Some(parcel) if parcel.end <= self.at => Err(surplus(parcel)),
            _ => Ok(came),
        }
    }
}

fn surplus(parcel: &Parcel) -> Error {
    decode_error(format!("{} descriptors came without a frame", parcel.fds.len()))
}

fn decode_error(text: impl Into<Box<str>>) -> Error {
    Error::new(ErrorKind::Decode, text)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::path::PathBuf;

    use bytes::Bytes;
    use fastrand::Rng;
    use tokio_util::codec::Encoder;

    use super::*;

    fn encoded(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut stream = Vec::new();
        for frame in frames {
            stream.extend(head(frame.len(), 0).expect("it is small"));
            stream.extend(frame);
        }
        stream
    }

    fn random_frames(rng: &mut Rng) -> Vec<Vec<u8>> {
        let sizes = [0, 1, 2, 100, 5_000];
        let size = |rng: &mut Rng| sizes[rng.usize(..sizes.len())] + rng.usize(..4);
        (0..rng.usize(1..20)).map(|_| (0..size(rng)).map(|_| rng.u8(..)).collect()).collect()
    }

    /// All frames that are there.
    fn drain(inflow: &mut Inflow) -> Result<Vec<Vec<u8>>> {
        let mut frames = Vec::new();
        loop {
            let said = inflow.has_next();
            let frame = inflow.next();
            assert_eq!(said, !matches!(frame, Ok(None)), "what is said to be buffered is");
            match frame? {
                Some(Piece::Frame(frame)) => frames.push(frame.bytes.to_vec()),
                Some(Piece::Signal(..)) => {}
                None => return Ok(frames),
            }
        }
    }

    fn fd() -> OwnedFd {
        File::open("/dev/null").expect("there is one").into()
    }

    #[test]
    fn any_split_of_the_stream_gives_the_same_frames() {
        for seed in 0..500 {
            let mut rng = Rng::with_seed(seed);
            let frames = random_frames(&mut rng);
            let stream = encoded(&frames);
            let (mut inflow, mut found, mut at) = (Inflow::new(), Vec::new(), 0);
            while at < stream.len() {
                let most = [1, 3, 700, stream.len()][rng.usize(..4)];
                let end = (at + rng.usize(1..=most)).min(stream.len());
                inflow.take_in(&stream[at..end], Vec::new());
                at = end;
                if rng.bool() {
                    found.extend(drain(&mut inflow).expect("they are frames"));
                }
            }
            found.extend(drain(&mut inflow).expect("they are frames"));
            inflow.end().expect("nothing is cut off");
            assert_eq!(found, frames, "seed {seed}");
        }
    }

    #[test]
    fn the_head_is_that_of_the_codec() {
        let mut theirs = BytesMut::new();
        let mut codec = LengthDelimitedCodec::new();
        codec.encode(Bytes::from_static(b"\x00ray"), &mut theirs).expect("it is small");
        assert_eq!(encoded(&[b"ray".to_vec()]), theirs);
    }

    #[test]
    fn garbage_and_flipped_bytes_never_panic_and_break_the_stream_for_good() {
        for seed in 0..2_000 {
            let mut rng = Rng::with_seed(seed);
            let mut stream = encoded(&random_frames(&mut rng));
            for _ in 0..rng.usize(1..4) {
                let at = rng.usize(..stream.len());
                stream[at] = rng.u8(..);
            }
            if rng.bool() {
                stream = (0..rng.usize(1..200)).map(|_| rng.u8(..)).collect();
            }
            let mut inflow = Inflow::new();
            for piece in stream.chunks(rng.usize(1..=stream.len())) {
                inflow.take_in(piece, Vec::new());
                if drain(&mut inflow).is_err() {
                    inflow.take_in(&encoded(&[vec![1]]), Vec::new());
                    assert_eq!(inflow.next().expect_err("it is broken").kind(), ErrorKind::Decode);
                }
            }
            let _ = inflow.end();
        }
    }

    #[test]
    fn a_length_beyond_the_most_is_refused_before_it_is_allocated() {
        for (length, named) in [([255; 4], "4294967294 bytes"), ([0, 128, 0, 2], "8388609 bytes")] {
            let mut inflow = Inflow::new();
            inflow.take_in(&length, Vec::new());
            let error = inflow.next().expect_err("it is too long");
            assert_eq!(error.kind(), ErrorKind::Decode);
            assert!(error.message().contains(named), "{error}");
            assert!(inflow.buffer.capacity() < 1024, "{}", inflow.buffer.capacity());
        }
        let error = head(FRAME_MAX + 1, 0).expect_err("it is too long");
        assert_eq!(error.kind(), ErrorKind::Encode);
        assert_eq!(head(0, DESCRIPTORS_MAX + 1).expect_err("they are too many").kind(), ErrorKind::Encode);
    }

    #[test]
    fn the_largest_frame_passes() {
        let mut inflow = Inflow::new();
        inflow.take_in(&head(FRAME_MAX, 0).expect("it is just small enough"), Vec::new());
        assert!(inflow.next().expect("it has begun").is_none());
        inflow.take_in(&vec![7; FRAME_MAX], Vec::new());
        assert_eq!(drain(&mut inflow).expect("it is whole"), [vec![7; FRAME_MAX]]);
    }

    #[test]
    fn an_end_within_a_frame_is_an_error() {
        let stream = encoded(&[b"manta".to_vec()]);
        for end in 1..stream.len() {
            let mut inflow = Inflow::new();
            inflow.take_in(&stream[..end], Vec::new());
            assert!(inflow.next().expect("it has begun").is_none());
            let error = inflow.end().expect_err("it is cut off");
            assert_eq!(error.kind(), ErrorKind::Decode);
            assert_eq!(inflow.end().expect_err("it stays so").kind(), ErrorKind::Decode);
        }
        let mut inflow = Inflow::new();
        inflow.take_in(&[0; 4], Vec::new());
        assert_eq!(inflow.next().expect_err("it has no head").kind(), ErrorKind::Decode);
    }

    #[test]
    fn descriptors_that_are_not_those_of_a_frame_break_the_stream_and_are_closed() {
        let frame = |descriptors: u8| [&[0, 0, 0, 2, descriptors][..], b"x"].concat();
        let parts = |parts: Vec<(Vec<u8>, usize)>| parts;
        let cases = [
            ("too few", parts(vec![(frame(2), 1)])),
            ("none", parts(vec![(frame(1), 0)])),
            ("too many", parts(vec![(frame(1), 2)])),
            ("not asked for", parts(vec![(frame(0), 1)])),
            ("beyond the most", parts(vec![(frame(200), 32)])),
            (
                "in the middle of a frame",
                parts(vec![(frame(1)[..3].to_vec(), 0), (frame(1)[3..].to_vec(), 1)]),
            ),
            (
                "before the frame is whole",
                parts(vec![(frame(1)[..3].to_vec(), 0), (frame(1)[3..5].to_vec(), 1)]),
            ),
            ("another frame's", parts(vec![(frame(0), 1), (frame(1), 1)])),
            ("with a signal", parts(vec![(Signal::Bell.frame().to_vec(), 1)])),
            ("rings without", parts(vec![(Signal::Rings.frame().to_vec(), 0)])),
            ("a signal with bytes", parts(vec![(vec![0, 0, 0, 2, Signal::Bell as u8, 7], 0)])),
            ("twice", parts(vec![(frame(1)[..3].to_vec(), 1), (frame(1)[3..].to_vec(), 1)])),
        ];
        for (name, parts) in cases {
            let mut inflow = Inflow::new();
            let mut open = Vec::new();
            for (bytes, count) in parts {
                let fds: Vec<_> = (0..count).map(|_| fd()).collect();
                open.extend(fds.iter().map(|fd| PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))));
                inflow.take_in(&bytes, fds);
            }
            assert_eq!(drain(&mut inflow).expect_err(name).kind(), ErrorKind::Decode, "{name}");
            assert!(inflow.parcels.is_empty(), "{name}: {} are kept", open.len());
        }
    }
}
