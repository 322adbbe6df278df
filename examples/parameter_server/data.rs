//! What is learnt: small grey images of the digits 0 to 9, and which digit each one shows.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::idx::Idx;
use crate::network::CLASSES;
use crate::random::Random;

/// Images and their labels.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Dataset {
    /// Pixels of an image.
    pub(crate) pixels: usize,
    images: Vec<u8>,
    labels: Vec<u8>,
}

impl Dataset {
    /// How many images there are.
    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    /// An image and the digit that it shows.
    pub(crate) fn sample(&self, index: usize) -> (&[u8], usize) {
        (&self.images[index * self.pixels..][..self.pixels], usize::from(self.labels[index]))
    }

    /// Reads images and labels, of the same number, from IDX files in a folder.
    fn open(folder: &Path, part: &str) -> Result<(Self, [usize; 2]), String> {
        let [images_name, labels_name] =
            [format!("{part}-images-idx3-ubyte"), format!("{part}-labels-idx1-ubyte")];
        let images = Idx::<3>::open(folder, &images_name)?;
        let labels = Idx::<1>::open(folder, &labels_name)?;
        let ([count, rows, columns], [labels_count]) = (images.sizes, labels.sizes);
        if count != labels_count {
            return Err(format!("{images_name} has {count} images, {labels_name} {labels_count} labels"));
        }
        if images.bytes.is_empty() {
            return Err(format!("{images_name} has no pixels: its sizes are {:?}", images.sizes));
        }
        if let Some(label) = labels.bytes.iter().find(|label| usize::from(**label) >= CLASSES) {
            return Err(format!("{labels_name} has the label {label}: there are 0 to {}", CLASSES - 1));
        }
        let all = Self { pixels: rows * columns, images: images.bytes, labels: labels.bytes };
        Ok((all, [rows, columns]))
    }
}

/// What to learn from, and what to be tested with.
pub(crate) struct Split {
    pub(crate) train: Dataset,
    pub(crate) test: Dataset,
}

/// The four files of MNIST, or of a data set made like it.
pub(crate) fn open(folder: &Path) -> Result<Split, String> {
    let (train, size) = Dataset::open(folder, "train")?;
    let (test, test_size) = Dataset::open(folder, "t10k")?;
    if size != test_size {
        return Err(format!("images to learn from have {size:?} pixels, those to test with {test_size:?}"));
    }
    Ok(Split { train, test })
}

/// Width and height of the images that are made here.
const WIDTH: usize = 12;
const HEIGHT: usize = 16;
/// One pixel in so many shows something else.
const NOISE: usize = 12;

/// The digits of a pocket calculator: which of its segments (top, upper left, upper right, middle, lower
/// left, lower right, bottom; the lowest bit is the top) are lit.
const LIT: [u8; CLASSES] = [
    0b111_0111, 0b010_0100, 0b101_1101, 0b110_1101, 0b010_1110, 0b110_1011, 0b111_1011, 0b010_0101, 0x7f,
    0x6f,
];
/// Where each segment lies: column, row, width and height.
const SEGMENTS: [[usize; 4]; 7] =
    [[0, 0, 7, 2], [0, 0, 2, 6], [5, 0, 2, 6], [0, 5, 7, 2], [0, 6, 2, 6], [5, 6, 2, 6], [0, 10, 7, 2]];

/// Digits of a pocket calculator, somewhere in the image, bright or dim, and noisy. The last tenth is held
/// out to test with.
pub(crate) fn generate(count: usize) -> Split {
    let mut random = Random::new(7);
    let (mut train, mut test) =
        (Dataset { pixels: WIDTH * HEIGHT, ..Dataset::default() }, Dataset::default());
    test.pixels = train.pixels;
    for n in 0..count {
        let part = if n < count - count / 10 { &mut train } else { &mut test };
        let digit = random.below(CLASSES);
        part.images.extend(draw(digit, &mut random));
        part.labels.push(digit as u8);
    }
    Split { train, test }
}

fn draw(digit: usize, random: &mut Random) -> [u8; WIDTH * HEIGHT] {
    let mut image = [0; WIDTH * HEIGHT];
    let (left, top) = (1 + random.below(4), 1 + random.below(3));
    let bright = 96 + random.below(160) as u8;
    for (n, [column, row, width, height]) in SEGMENTS.into_iter().enumerate() {
        if LIT[digit] >> n & 1 == 1 {
            for y in top + row..top + row + height {
                image[y * WIDTH + left + column..][..width].fill(bright);
            }
        }
    }
    for pixel in &mut image {
        if random.below(NOISE) == 0 {
            *pixel = random.below(256) as u8;
        }
    }
    image
}
