//! Large plain data: [`Buffer`] of bytes and [`Array`] of numbers, which other processes read where it lies.
//!
//! ```text
//! Array<f64> { shape, bytes } ── clone: counts ── encode: a place among the buffers, no copy
//!                        └─ a Vec of this process, or shared memory of this or another one
//! ```

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, RangeBounds};
use std::sync::Arc;

use bytemuck::Pod;
use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, ErrorKind, Result};
use crate::store;
use crate::value::{read_buffer, write_buffer};

/// Arrays below are built on the heap: they go inside of messages, and extents of them would be many.
const SHARED_MIN: usize = 64 * 1024;

/// How many elements `Debug` shows.
const SHOWN: usize = 8;

/// Bytes that are cloned, sliced and passed between processes on one machine without a copy.
///
/// As a `Vec<u8>` goes through the serialiser, it is copied for every process; a `Buffer`, also inside of
/// a larger value, is written to shared memory once.
///
/// ```
/// use mobula::Buffer;
///
/// let buffer = Buffer::from(vec![1, 2, 3, 4]);
/// let end = buffer.slice(2..);
/// assert_eq!((end.len(), &end[..]), (2, &[3, 4][..]));
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Buffer(Bytes);

impl Buffer {
    /// No bytes.
    pub const fn new() -> Self {
        Self(Bytes::new())
    }

    /// A part of it, which shares its memory.
    ///
    /// # Panics
    ///
    /// As slices do, if the range is not inside.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        Self(self.0.slice(range))
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&[u8]> for Buffer {
    fn from(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }
}

impl<const N: usize> From<&[u8; N]> for Buffer {
    fn from(bytes: &[u8; N]) -> Self {
        Self::from(&bytes[..])
    }
}

impl From<Bytes> for Buffer {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<Buffer> for Bytes {
    fn from(buffer: Buffer) -> Self {
        buffer.0
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.len())
    }
}

impl Serialize for Buffer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write_buffer(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Buffer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_buffer(deserializer).map(Self)
    }
}

/// A number that an [`Array`] holds: integers of 8 to 64 bits, `f32` and `f64`.
pub trait Number: sealed::Sealed {}

mod sealed {
    use super::Pod;

    pub trait Sealed: Pod + PartialEq + std::fmt::Debug + Send + Sync {
        /// What the type is called among bytes.
        const NAME: &'static str;
    }
}

macro_rules! numbers {
    ($($number:ident)*) => {
        $(
            impl sealed::Sealed for $number {
                const NAME: &'static str = stringify!($number);
            }
            impl Number for $number {}
        )*
    };
}

numbers!(u8 u16 u32 u64 i8 i16 i32 i64 f32 f64);

/// Numbers with a shape that are cloned and passed between processes on one machine without a copy.
///
/// They lie in rows, the last index running fastest. A remote function that takes `&[f64]` takes a
/// `&ObjectRef<Array<f64>>`, too, and reads it where it lies.
///
/// ```
/// use mobula::Array;
///
/// let table = Array::new([2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
/// assert_eq!((table.shape(), table.len()), (&[2, 3][..], 6));
/// assert_eq!(table.iter().sum::<f64>(), 21.0);
///
/// // Large ones are best built where others can read them.
/// let ramp = Array::build([1_000, 1_000], |all: &mut [f32]| {
///     all.iter_mut().enumerate().for_each(|(n, x)| *x = n as f32);
/// })?;
/// assert_eq!(ramp[2_500], 2_500.0);
/// # Ok::<(), mobula::Error>(())
/// ```
#[derive(Clone)]
pub struct Array<T: Number> {
    shape: Arc<[usize]>,
    /// As many numbers as the shape says, at a place that fits them.
    bytes: Bytes,
    numbers: PhantomData<T>,
}

/// A vector as the owner of bytes.
struct Numbers<T>(Vec<T>);

impl<T: Number> AsRef<[u8]> for Numbers<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidOption, message)
}

/// How many numbers a shape has, if that can be counted.
fn count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |count, side| count.checked_mul(*side))
}

impl<T: Number> Array<T> {
    /// An array of one dimension; nothing is copied.
    pub fn from_vec(numbers: Vec<T>) -> Self {
        let shape = Arc::from([numbers.len()]);
        Self { shape, bytes: Bytes::from_owner(Numbers(numbers)), numbers: PhantomData }
    }

    /// An array of one dimension, copied.
    pub fn from_slice(numbers: &[T]) -> Self {
        Self::from_vec(numbers.to_vec())
    }

    /// An array of the numbers in rows; `InvalidOption` if the shape has not as many.
    pub fn new(shape: impl AsRef<[usize]>, numbers: Vec<T>) -> Result<Self> {
        let shape = shape.as_ref();
        if count(shape) != Some(numbers.len()) {
            return Err(invalid(format!("{} numbers do not make the shape {shape:?}", numbers.len())));
        }
        Ok(Self { shape: shape.into(), ..Self::from_vec(numbers) })
    }

    /// An array that `fill` writes, a large one straight into shared memory, so that no other process will
    /// need a copy. What the slice holds before is not specified.
    ///
    /// `InvalidOption` if the shape is too large to be counted, `StoreFull` if there is no memory for it.
    pub fn build(shape: impl AsRef<[usize]>, fill: impl FnOnce(&mut [T])) -> Result<Self> {
        let shape = shape.as_ref();
        let count = count(shape).filter(|count| count.checked_mul(size_of::<T>()).is_some());
        let count = count.ok_or_else(|| invalid(format!("the shape {shape:?} is beyond numbers")))?;
        let len = count * size_of::<T>();
        let mut fill = Some(fill);
        let mut fill = |numbers: &mut [T]| fill.take().map_or((), |fill| fill(numbers));
        if len >= SHARED_MIN
            && let Some(shared) = store::shared_memory()
        {
            match shared.write(len, &mut |bytes| fill(bytemuck::cast_slice_mut(bytes))) {
                Ok(bytes) => return Ok(Self { shape: shape.into(), bytes, numbers: PhantomData }),
                Err(error) if error.kind() == ErrorKind::StoreFull => return Err(error),
                // Where nothing can be shared, it can still be used here.
                Err(error) => tracing::debug!(%error, "an array is not shared"),
            }
        }
        let no_room = |()| Error::new(ErrorKind::StoreFull, format!("there is no room for {len} bytes"));
        let mut numbers = bytemuck::try_zeroed_vec(count).map_err(no_room)?;
        fill(&mut numbers);
        Ok(Self { shape: shape.into(), ..Self::from_vec(numbers) })
    }

    /// The numbers of each dimension.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// All numbers, in rows.
    pub fn as_slice(&self) -> &[T] {
        bytemuck::cast_slice(&self.bytes)
    }

    /// The numbers as bytes.
    pub(super) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// One dimension over bytes; `None` if they are no whole numbers.
    pub(super) fn of_bytes(bytes: Bytes) -> Option<Self> {
        Self::from_bytes(vec![bytes.len() / size_of::<T>()], bytes)
    }

    /// From bytes, which are copied if they lie at no fitting place; `None` if they are not as many.
    fn from_bytes(shape: Vec<usize>, bytes: Bytes) -> Option<Self> {
        if count(&shape)?.checked_mul(size_of::<T>())? != bytes.len() {
            return None;
        }
        let numbers = PhantomData;
        if bytemuck::try_cast_slice::<u8, T>(&bytes).is_ok() {
            return Some(Self { shape: shape.into(), bytes, numbers });
        }
        if let Some(shared) = store::shared_memory() {
            shared.note_copied(bytes.len());
        }
        let mut copy = vec![T::zeroed(); bytes.len() / size_of::<T>()];
        bytemuck::cast_slice_mut(&mut copy).copy_from_slice(&bytes);
        Some(Self { shape: shape.into(), ..Self::from_vec(copy) })
    }
}

impl<T: Number> From<Vec<T>> for Array<T> {
    fn from(numbers: Vec<T>) -> Self {
        Self::from_vec(numbers)
    }
}

impl<T: Number> Deref for Array<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.as_slice()
    }
}

impl<T: Number> AsRef<[T]> for Array<T> {
    fn as_ref(&self) -> &[T] {
        self.as_slice()
    }
}

impl<T: Number> PartialEq for Array<T> {
    fn eq(&self, other: &Self) -> bool {
        self.shape == other.shape && self.as_slice() == other.as_slice()
    }
}

impl<T: Number> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.len() > SHOWN { ", .." } else { "" };
        write!(f, "Array<{}>{:?}[", T::NAME, self.shape)?;
        for (n, number) in self.iter().take(SHOWN).enumerate() {
            write!(f, "{}{number:?}", if n == 0 { "" } else { ", " })?;
        }
        write!(f, "{more}]")
    }
}

/// The numbers of an array among the parts of its serialised form.
struct Part(Bytes);

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write_buffer(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_buffer(deserializer).map(Self)
    }
}

impl<T: Number> Serialize for Array<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (T::NAME, &*self.shape, Part(self.bytes.clone())).serialize(serializer)
    }
}

impl<'de, T: Number> Deserialize<'de> for Array<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (name, shape, Part(bytes)) = <(String, Vec<usize>, Part)>::deserialize(deserializer)?;
        if name != T::NAME {
            return Err(D::Error::custom(format_args!("numbers of type {name}, not {}", T::NAME)));
        }
        let len = bytes.len();
        let array = Self::from_bytes(shape, bytes);
        array.ok_or_else(|| D::Error::custom(format_args!("{len} bytes do not make the shape")))
    }
}

#[cfg(feature = "ndarray")]
impl<T: Number> Array<T> {
    /// As an array of the `ndarray` crate, without a copy.
    pub fn view(&self) -> ndarray::ArrayView<'_, T, ndarray::IxDyn> {
        ndarray::ArrayView::from_shape(&*self.shape, self.as_slice()).expect("the shape fits the numbers")
    }
}

/// Nothing is copied if it stands in rows.
#[cfg(feature = "ndarray")]
impl<T: Number, D: ndarray::Dimension> From<ndarray::Array<T, D>> for Array<T> {
    fn from(array: ndarray::Array<T, D>) -> Self {
        let shape = Arc::from(array.shape());
        let numbers = if array.is_standard_layout() {
            let (numbers, start) = array.into_raw_vec_and_offset();
            let (start, len) = (start.unwrap_or(0), shape_len(&shape));
            if start == 0 && len == numbers.len() { numbers } else { numbers[start..start + len].to_vec() }
        } else {
            array.iter().copied().collect()
        };
        Self { shape, ..Self::from_vec(numbers) }
    }
}

#[cfg(feature = "ndarray")]
fn shape_len(shape: &[usize]) -> usize {
    shape.iter().product()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::store_stats;
    use crate::value::{decode_with, encode};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Frame {
        name: String,
        pixels: Buffer,
        depth: Vec<Array<f32>>,
    }

    fn frame() -> Frame {
        let depth = Array::new([2, 2], vec![0.5, 1.5, 2.5, 3.5]).expect("four");
        Frame { name: "a".into(), pixels: Buffer::from(&[1, 2, 3]), depth: vec![depth] }
    }

    #[test]
    fn slices_and_clones_share() {
        let buffer = Buffer::from(vec![1, 2, 3, 4]);
        assert_eq!(buffer.slice(1..3).as_ptr(), buffer[1..].as_ptr());
        let array = Array::from_vec(vec![1, 2, 3_i64]);
        assert_eq!(array.clone().as_ptr(), array.as_ptr());
        assert_eq!(array.to_vec(), [1, 2, 3]);
    }

    #[test]
    fn a_shape_that_does_not_fit_is_refused() {
        for shape in [&[2, 3][..], &[], &[0], &[usize::MAX, 2], &[5, 1, 2]] {
            let error = Array::new(shape, vec![0_u8; 5]).expect_err("five");
            assert_eq!(error.kind(), ErrorKind::InvalidOption, "{shape:?}");
        }
        let beyond = Array::build([usize::MAX / 2], |_: &mut [f64]| {}).expect_err("too large");
        assert_eq!(beyond.kind(), ErrorKind::InvalidOption);
        let huge = Array::build([1 << 60], |_: &mut [u8]| {}).expect_err("too large");
        assert_eq!(huge.kind(), ErrorKind::StoreFull);
        assert_eq!(Array::new([], vec![7]).expect("a number").as_slice(), [7]);
    }

    #[test]
    fn inside_of_larger_values_they_go_beside_the_bytes() {
        let sent = frame();
        let encoded = encode(&sent).expect("encodes");
        assert_eq!(encoded.buffers.len(), 2);
        let read: Frame = decode_with(&encoded.bytes, &encoded.buffers).expect("decodes");
        assert_eq!(read, sent);
        assert_eq!(read.depth[0].as_ptr(), sent.depth[0].as_ptr());
    }

    #[test]
    fn in_any_other_format_they_are_inline() {
        let bytes = rmp_serde::to_vec(&frame()).expect("encodes");
        assert_eq!(rmp_serde::from_slice::<Frame>(&bytes).expect("decodes"), frame());
    }

    #[cfg(all(feature = "process", target_os = "linux"))]
    mod with_processes {
        use super::*;

        #[test]
        fn what_is_large_is_built_in_shared_memory() {
            let array = Array::build([100, 1_000], |all| all.fill(3_i64)).expect("there is room");
            let extent = store::arena().locate(bytemuck::cast_slice(&array)).expect("it is shared");
            assert_eq!((extent.len, array.as_ptr().addr() % 64), (800_000, 0));
            assert!(array.iter().all(|number| *number == 3));
            let buffers = encode(&array).expect("encodes").buffers;
            assert_eq!(store::arena().locate(&buffers[0]), Some(extent));
            let small = Array::build([2], |all| all.fill(1_u8)).expect("there is room");
            assert_eq!((store::arena().locate(&small), &*small), (None, &[1, 1][..]));
        }

        #[test]
        fn what_lies_at_no_fitting_place_is_copied_and_counted() {
            let aligned = Bytes::from_owner(Numbers(vec![0_u64, 1, 2]));
            let read = |bytes: Bytes| Array::<u64>::from_bytes(vec![2], bytes).expect("two");
            let before = store_stats().bytes_copied;
            assert_eq!(read(aligned.slice(8..)).as_slice(), [1, 2]);
            assert_eq!(store_stats().bytes_copied, before);
            let shifted = read(aligned.slice(4..20));
            assert_eq!(shifted.as_slice(), [1 << 32, 2 << 32].map(|n: u64| n.to_le()));
            assert_eq!(store_stats().bytes_copied, before + 16);
        }
    }

    #[test]
    fn bytes_of_another_type_or_shape_are_errors() {
        let encoded = encode(&Array::from_vec(vec![1_u64, 2])).expect("encodes");
        let kind = |buffers: &[Bytes]| {
            decode_with::<Array<u64>>(&encoded.bytes, buffers).expect_err("it is wrong").kind()
        };
        assert_eq!(kind(&[]), ErrorKind::Decode);
        assert_eq!(kind(&[encoded.buffers[0].slice(1..)]), ErrorKind::Decode);
        decode_with::<Array<f64>>(&encoded.bytes, &encoded.buffers).expect_err("of another type");
    }

    #[test]
    fn debug_is_short() {
        assert_eq!(
            format!("{:?}", Array::from_vec((0..100).collect::<Vec<u8>>())),
            "Array<u8>[100][0, 1, 2, 3, 4, 5, 6, 7, ..]"
        );
        assert_eq!(format!("{:?}", frame().depth[0]), "Array<f32>[2, 2][0.5, 1.5, 2.5, 3.5]");
        assert_eq!(format!("{:?}", frame().pixels), "Buffer(3 bytes)");
    }

    #[cfg(feature = "ndarray")]
    #[test]
    fn ndarrays_come_and_go_without_a_copy() {
        let table = ndarray::Array::from_shape_vec((2, 3), vec![1, 2, 3, 4, 5, 6]).expect("six");
        let place = table.as_ptr();
        let array = Array::from(table.clone());
        assert_eq!((array.shape(), array.view()), (&[2, 3][..], table.view().into_dyn()));
        assert_eq!(Array::from(table.clone().reversed_axes()).as_slice(), [1, 4, 2, 5, 3, 6]);
        let part = table.clone().slice_move(ndarray::s![1.., ..]);
        assert_eq!(Array::from(part).as_slice(), [4, 5, 6]);
        assert_eq!(Array::from(table).as_ptr(), place);
    }
}
