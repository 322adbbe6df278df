//! IDX files, the format of MNIST: two zero bytes, the type of an element, the number of dimensions, the size
//! of each as a big-endian `u32`, then the elements. Read here are files of unsigned bytes, the only type that
//! MNIST uses; where a file is missing and its name with `.gz` behind is not, that one is unpacked.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

/// The type of unsigned bytes.
const UNSIGNED_BYTE: u8 = 8;
/// More than any such data set has: a header that asks for more is a mistake, not a reason to fill memory.
const BYTES_MAX: usize = 1 << 30;

/// The bytes of a file, `N` dimensions of them, the last one varying fastest.
#[derive(Debug)]
pub(crate) struct Idx<const N: usize> {
    pub(crate) sizes: [usize; N],
    pub(crate) bytes: Vec<u8>,
}

impl<const N: usize> Idx<N> {
    /// Reads the file of that name in a folder. The error names the file and says what is wrong with it.
    pub(crate) fn open(folder: &Path, name: &str) -> Result<Self, String> {
        let plain = folder.join(name);
        let zipped = folder.join(format!("{name}.gz"));
        let is_zipped = !plain.exists() && zipped.exists();
        let path: PathBuf = if is_zipped { zipped } else { plain };
        let file = File::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let read = if is_zipped { Self::read(MultiGzDecoder::new(file)) } else { Self::read(file) };
        read.map_err(|wrong| format!("{}: {wrong}", path.display()))
    }

    /// Reads all of `from`: no byte may be missing, and none be left.
    fn read(mut from: impl Read) -> Result<Self, String> {
        let magic: [u8; 4] = number(&mut from)?;
        let [zero, nought, element, dimensions] = magic;
        if (zero, nought) != (0, 0) {
            return Err(format!("no IDX file: it starts with {magic:02x?}"));
        }
        if element != UNSIGNED_BYTE {
            return Err(format!("its elements are of type 0x{element:02x}, not unsigned bytes (0x08)"));
        }
        if usize::from(dimensions) != N {
            return Err(format!("it has {dimensions} dimensions, not {N}"));
        }
        let mut sizes = [0; N];
        for size in &mut sizes {
            *size = u32::from_be_bytes(number(&mut from)?) as usize;
        }
        let bytes_all = sizes.iter().try_fold(1_usize, |all, size| all.checked_mul(*size));
        let Some(bytes_all) = bytes_all.filter(|bytes| *bytes <= BYTES_MAX) else {
            return Err(format!("its header speaks of {sizes:?} bytes, more than {BYTES_MAX} in all"));
        };
        // One byte more than there should be shows that there are more.
        let mut bytes = Vec::new();
        from.take(bytes_all as u64 + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        match bytes.len() {
            len if len < bytes_all => Err(format!("truncated: {len} bytes, not {sizes:?}")),
            len if len > bytes_all => Err(format!("too long: more bytes than {sizes:?}")),
            _ => Ok(Self { sizes, bytes }),
        }
    }
}

/// Four bytes of the header.
fn number(from: &mut impl Read) -> Result<[u8; 4], String> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => "truncated: it ends in its header".into(),
        _ => error.to_string(),
    })?;
    Ok(bytes)
}
