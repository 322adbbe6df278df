//! Tasks that depend on each other's results: products of large matrices as a graph of calls.
//!
//! Run it with `cargo run --release --example matrix_dag`. Refs are arguments like any other: a product
//! starts when both of its factors are there, wherever they come from.
//!
//! ```text
//! x ──┬────────────────┐
//!     ├── xy ──┐       ├── x(yw) ──┐
//! y ──┤        │       │           ├── largest_difference
//!     ├── yw ──│───────┘           │
//! w ──┴────────┴── (xy)w ──────────┘
//! ```
//!
//! Both ways to multiply all three come to the same but for rounding; it prints by how much they differ, and
//! how long it all took.

use std::time::Instant;

use clap::Parser;
use mobula::prelude::*;
use ndarray::{Array2, Zip};

/// Multiplies three random matrices in two ways.
#[derive(Parser)]
struct Options {
    /// Rows and columns of each matrix
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..))]
    size: u16,
}

#[remote]
fn create_matrix(size: u16, seed: u64) -> Array2<f64> {
    let mut random = fastrand::Rng::with_seed(seed);
    Array2::from_shape_simple_fn((size.into(), size.into()), || normal(&mut random))
}

/// A normally distributed number, by the method of Box and Muller.
fn normal(random: &mut fastrand::Rng) -> f64 {
    let radius = (-2.0 * (1.0 - random.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.f64()).cos()
}

// Borrowed parameters are read where the matrices lie: nothing is copied.
#[remote]
fn multiply_matrices(x: &Array2<f64>, y: &Array2<f64>) -> Array2<f64> {
    x.dot(y)
}

#[remote]
fn largest_difference(x: &Array2<f64>, y: &Array2<f64>) -> f64 {
    Zip::from(x).and(y).fold(0.0, |largest: f64, x, y| largest.max((x - y).abs()))
}

fn main() -> mobula::Result<()> {
    let size = Options::parse().size;
    let _session = mobula::init()?;

    let start = Instant::now();
    let [x, y, w] = [1, 2, 3].map(|seed| create_matrix::remote(size, seed));
    let xy = multiply_matrices::remote(&x, &y);
    let yw = multiply_matrices::remote(&y, &w);
    let xy_w = multiply_matrices::remote(&xy, &w);
    let x_yw = multiply_matrices::remote(&x, &yw);
    let difference = largest_difference::remote(&xy_w, &x_yw);
    println!("calls made after {:.3} s", start.elapsed().as_secs_f64());

    // A view borrows a result where it lies.
    let z = xy_w.view()?;
    let largest = z.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
    println!("(xy)w: {} x {}, largest entry {largest:.0}", z.nrows(), z.ncols());
    println!("x(yw) differs by {:.15} at most", difference.get()?);
    println!("five matrices were made of three in {:.3} s", start.elapsed().as_secs_f64());
    Ok(())
}
